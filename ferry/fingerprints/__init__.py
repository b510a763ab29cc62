"""Fingerprints: a number for a row, which every engine computes alike, in SQL of its own."""
