"""Our own routes: residency, metrics, the index."""
