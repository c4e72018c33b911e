"""The HTTP service: answers from a locked model, and from nothing else."""
