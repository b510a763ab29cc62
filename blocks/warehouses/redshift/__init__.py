"""Amazon Redshift as a warehouse; `warehouse.py` has the block."""
