"""Which archive is worth least: one policy per file, by name in `table.py`."""
