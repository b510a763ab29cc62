"""What has landed in a table before, as its receipts tell, and what follows for the next batch."""
