"""What is counted and logged of each thing that the loop handles: one file a subject."""
