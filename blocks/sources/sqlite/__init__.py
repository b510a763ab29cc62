"""SQLite files; `source.py` has the block."""
