"""The autoscalers people use today, by their own algorithms."""
