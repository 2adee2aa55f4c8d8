"""What a Prometheus knows of a model's last days."""
