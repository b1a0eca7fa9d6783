"""Where archives come from: registered folders, a local folder or an S3 prefix, and the disk cache below them."""
