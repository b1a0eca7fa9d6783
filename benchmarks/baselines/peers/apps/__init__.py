"""What a peer's user would write, one file per server; each runs in that server's own environment."""
