"""The outside world: one file per system. Credentials, connections, what that system can do."""
