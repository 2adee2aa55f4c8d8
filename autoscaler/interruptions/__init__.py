"""Notice sources: where word of an interruption comes from."""
