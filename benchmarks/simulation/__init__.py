"""Replays a trace against eviction policies and the offline optimum, in a byte budget, on the trace's own clock.

The policies here are small reference versions, written from the papers: the server's are measured over the network.
"""
