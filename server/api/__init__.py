"""HTTP: bytes and headers in, bytes and headers out. Translates, never decides."""
