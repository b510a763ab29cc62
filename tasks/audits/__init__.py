"""Audits: a table compared with its source, what was found recorded, and repaired."""
