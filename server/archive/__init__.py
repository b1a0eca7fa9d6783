"""The archive format, which builders write and the server reads: manifest, layout, digests, packing, staging."""
