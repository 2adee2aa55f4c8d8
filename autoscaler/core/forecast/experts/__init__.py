"""One baseline of the forecast a file; `registry` lists them."""
