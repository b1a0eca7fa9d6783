"""Which settings serve one archive best on this host: what can be set, what is better, in which order to try."""
