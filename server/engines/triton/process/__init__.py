"""A tritonserver as a process: found, started with its flags and ports, watched, ended, started again."""
