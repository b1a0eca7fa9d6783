"""Two thousand small archives that are real all the same: seeded encoders, distinct heads, a local S3 that holds them.

No step is a Python model, and every answer can be computed here, so that a wrong or mixed-up one is seen.
"""
