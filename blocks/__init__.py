"""The outside world: credentials, connections, and what each system can do."""
