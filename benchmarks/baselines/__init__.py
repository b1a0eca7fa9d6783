"""What a result is compared with: the bare engine, in one process."""
