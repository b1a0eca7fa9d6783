"""Archives below an S3 prefix."""
