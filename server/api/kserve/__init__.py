"""KServe v2 over HTTP, as tritonclient speaks it."""
