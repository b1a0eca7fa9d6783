"""The content-addressed cache of fetched and unpacked archives."""
