"""What was before this engine looked: put right, and given to all that learns from a model's traffic."""
