"""Coverage: which days of a table are loaded, and what follows: backfills, catch-up, deadlines.

A wing of its own: the rest of `ferry/` does not know it, and it does not know the summaries.
"""
