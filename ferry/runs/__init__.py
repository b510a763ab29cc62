"""Runs: which have died or are stuck, and the messages about them."""
