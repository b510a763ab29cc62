"""The outside world: credentials, connections, and what each system can do."""

from blocks.little_memory import hold_little_memory

hold_little_memory()  # before any module makes a first value of Arrow's
