"""Coverage: which days of a table are loaded, what people are shown of it, and deadlines.

A wing of its own: the rest of `ferry/` does not know it, but for backfills; and it does not know
the summaries.
"""
