"""Receipts and failures: what was carried, what was not, and as what it had been read."""
