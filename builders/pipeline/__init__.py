"""What every build does: show its stages, measure, write the manifest, pack."""
