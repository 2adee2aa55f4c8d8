"""The serving model stated plainly, one step at a time; the kernel must equal it."""
