"""The life of a server: in which order its parts begin and end, and how the process itself lives."""
