"""Commands performed: one API write each."""
