"""The API server: how it is reached, what may be asked of it, its client."""
