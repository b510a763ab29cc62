"""Summaries in a run: which follow what was carried, each checked, built aside and published."""
