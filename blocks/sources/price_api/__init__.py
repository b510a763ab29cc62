"""A web API of daily prices, read like a table; `source.py` has the block."""
