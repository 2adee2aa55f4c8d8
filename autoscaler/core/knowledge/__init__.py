"""What of a model's memory outlives the process: at most 4 KiB of text, and how it is given back."""
