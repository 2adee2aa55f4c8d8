"""The same signals through Prometheus: instant queries, with each sample's own time."""
