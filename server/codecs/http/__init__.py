"""What HTTP says around a payload: its type, its encoding, what the caller accepts, forms."""
