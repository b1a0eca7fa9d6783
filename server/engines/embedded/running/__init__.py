"""When and on which thread executions of a step run: instances, shared executions, worker threads, streams."""
