"""The frame around the scenarios: which there are, how they are run, shown, reported and compared."""
