"""PostgreSQL as a warehouse, and what Redshift shares with it; `warehouse.py` has the block."""
