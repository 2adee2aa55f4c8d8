"""A cluster in a box: an API server and vLLM-shaped servers on loopback, and the demo on them."""
