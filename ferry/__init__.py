"""The rules of Ferry: windows, specs, schemas, write algorithms and receipts.

Nothing here imports Prefect, opens a connection or reads a file, so all of it can be read and
tested with Python alone.
"""

__version__ = "0.1.0"
