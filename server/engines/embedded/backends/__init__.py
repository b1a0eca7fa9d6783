"""One backend per file; `loaded_step.Backend` says what each gives."""
