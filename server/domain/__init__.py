"""What a model, a request and a failure are. Standard library and numpy only; no I/O, no framework."""
