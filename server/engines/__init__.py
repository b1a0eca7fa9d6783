"""Engines: what executes steps, each behind `domain.ports.Engine`."""
