"""The folders that tritonserver reads: staged steps under names of their content, configs, backends."""
