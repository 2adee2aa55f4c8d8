"""The forecasters, by kind; `registry` lists them."""
