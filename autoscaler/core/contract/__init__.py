"""What enters the engine, what leaves it, and how both are written down."""
