"""Backfills and catch-up: which windows are carried, how many together, and what became of them.

A wing that knows coverage, since it carries what is not loaded.
"""
