"""What has landed in a table before and what failed to, and what follows for the next batch."""
