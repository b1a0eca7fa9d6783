"""Network architectures that no pinned library brings, with the state_dict names that their checkpoints have."""
