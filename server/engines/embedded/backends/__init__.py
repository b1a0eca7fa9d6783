"""One backend per file (and its parts); `loaded_step.Backend` says what each gives."""
