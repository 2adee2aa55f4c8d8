"""One page: fetched, parsed, and read for signals."""
