"""What every surface calls: the one road of a request, and the control of what is loaded. Knows no HTTP."""
