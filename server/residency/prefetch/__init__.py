"""Bringing archives one tier up before they are asked for, while the server is idle."""
