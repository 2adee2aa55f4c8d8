"""One trace format a file; `registry` lists them."""
