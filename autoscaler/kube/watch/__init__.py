"""Caches kept in step with the API server, and what of each object they keep."""
