"""What this process holds for its steps: predicted, measured, told, and given back to the system."""
