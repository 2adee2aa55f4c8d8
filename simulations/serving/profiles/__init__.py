"""What a replica is: a model on GPUs, as data."""
