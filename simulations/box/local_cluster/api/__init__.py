"""The API server: what may be asked of it, how it answers, and how it fails on demand."""
