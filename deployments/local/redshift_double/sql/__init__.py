"""Redshift's SQL, as the double reads it: what it refuses, and what PostgreSQL is told instead."""
