"""The host tier: files of steps that left the devices, kept in memory."""
