"""The runtime: keeps model archives resident on one host and answers for them. ARCHITECTURE.md is its map."""
