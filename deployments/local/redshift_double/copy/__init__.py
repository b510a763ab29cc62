"""COPY, as the double carries it out: from its text and its manifest to rows in PostgreSQL."""
