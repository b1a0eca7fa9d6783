"""Turns model families into archives. Shares only the archive format with the server."""
