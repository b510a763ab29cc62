"""MySQL, MariaDB, and what speaks their protocol; `source.py` has the block."""
