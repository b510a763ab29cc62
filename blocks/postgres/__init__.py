"""PostgreSQL's protocol: sessions and errors, for every block over a server that speaks it."""
