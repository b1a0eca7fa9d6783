"""Measurements over the network: each scenario answers one question, as ratios within one run."""
