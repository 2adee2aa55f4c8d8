"""What is done on a Prometheus of the user: capture, calibrate, advise."""
