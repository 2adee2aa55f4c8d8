"""What is asked for: from samples to the demand of a model, in replicas."""
