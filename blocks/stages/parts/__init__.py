"""Part files: record batches written as CSV, compressed, hashed, and read back."""

from blocks.little_memory import hold_little_memory

hold_little_memory()  # before the modules of this folder make their first values
