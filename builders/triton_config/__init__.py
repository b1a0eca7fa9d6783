"""config.pbtxt through Triton's own schema; never through string templates."""
