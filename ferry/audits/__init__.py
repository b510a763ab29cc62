"""Audits: a source's table compared with its target, where their rows are; and what differs.

A wing: what carries a batch does not know it.
"""
