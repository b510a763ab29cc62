"""The target: what has to be made or altered before a batch fits into it, and what is refused."""
