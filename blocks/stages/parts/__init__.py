"""Part files: record batches written as CSV, compressed, hashed, and read back."""
