"""One self-contained HTML page from result documents."""
