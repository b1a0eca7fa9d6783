"""What a person types: thin shells over the composition root."""
