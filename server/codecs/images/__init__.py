"""Pictures in and out: image files, arrays in JSON, masks, and the words of a text-to-image request."""
