"""PostgreSQL as a warehouse; `warehouse.py` has the block."""
