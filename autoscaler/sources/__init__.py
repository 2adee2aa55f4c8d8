"""Signal sources: pages of serving engines and of the DCGM exporter, or Prometheus in their place."""
