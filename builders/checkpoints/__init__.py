"""Published checkpoints: where their files are and what these say."""
