"""Which archives are in memory, and why: decided purely by the planner, done by the loader, granted as leases."""
