"""What is there, what is on its way, and what is being lost."""
