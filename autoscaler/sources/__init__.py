"""Where signals come from: the pages of serving engines, the DCGM exporter, Prometheus."""
