"""The side of a worker process: it answers what it holds a lease for, and passes on everything else."""
