"""Summaries: their specs, queries and checks, what a change touches, and how one is published.

A wing of its own: the rest of `ferry/` does not know it, and it does not know coverage.
"""
