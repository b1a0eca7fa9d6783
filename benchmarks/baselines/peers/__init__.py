"""What else a user could pick, on the same model and load: each in its own process, or in its own environment."""
