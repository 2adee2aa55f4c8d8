"""One pass over all models, top-down."""
