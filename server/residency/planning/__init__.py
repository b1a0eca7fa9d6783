"""What should be in memory: a pure state machine, its words and its rules."""
