"""What memory steps take: predicted, measured, remembered, and compared with the process."""
