"""Payloads of the tasks that archives declare, one task per file; `table.py` has them all."""
