"""One file per engine."""

from blocks.source import Source
from blocks.sources.mysql import MySQLSource
from blocks.sources.sqlite import SQLiteSource

__all__ = ["SOURCES", "MySQLSource", "SQLiteSource"]

SOURCES: tuple[type[Source], ...] = (MySQLSource, SQLiteSource)
"""The engines that can be read from. The contract tests run over all of them."""
