"""A second opinion on SQL text: sqlfluff's Redshift grammar, and our rules for what it misses.

Meant for tests that read the double's log: every statement that reached it should be one that
Redshift would parse.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

from deployments.local.redshift_double.errors import Refusal
from deployments.local.redshift_double.sql import rules
from deployments.local.redshift_double.sql.tokens import Statement, split

_LONGEST_VALUES_LIST = 3


def violations(sql: str) -> list[str]:
    """Returns what is wrong with one statement as Redshift SQL; an empty list if nothing is.

    Slow: a tenth of a second for a text not seen before. Literals and long lists of VALUES do not
    count as differences.

    Args:
        sql: One statement, with or without its semicolon.
    """
    try:
        statements = list(split(sql))
    except Refusal as refusal:
        return [refusal.message]
    if not statements:
        return []
    if len(statements) > 1:
        return ["more than one statement"]
    statement = statements[0]
    found = [f"{rule.name}: {rule.message}" for rule in rules.broken(statement.shape)]
    return found + _unparsable(_normalised(statement))


def _normalised(statement: Statement) -> str:
    """Returns the statement with all literals alike and long lists of VALUES cut short."""
    alike = {"string": "'s'", "number": "1"}
    is_copy = statement.word(0) == "COPY"
    words = []
    for token in statement.tokens:
        text = statement.text[token.start : token.end]
        text = text if is_copy else alike.get(token.kind, text)
        gap = statement.text[token.start - 1 : token.start].isspace() and token.start > 0
        words.append(" " + text if gap else text)
    if statement.word(0) == "INSERT" and "VALUES" in {t.word for t in statement.tokens}:
        at = next(i for i, token in enumerate(statement.tokens) if token.word == "VALUES")
        depth, lists, end = 0, 0, len(words)
        for index in range(at, len(words)):
            depth += {"(": 1, ")": -1}.get(words[index].strip(), 0)
            lists += words[index].strip() == ")" and depth == 0
            if lists == _LONGEST_VALUES_LIST:
                end = index + 1
                break
        words = words[:end]
    return "".join(words)


@cache
def _linter() -> Any:
    from sqlfluff.core import FluffConfig, Linter  # noqa: PLC0415 - takes half a second

    return Linter(
        config=FluffConfig(overrides={"dialect": "redshift", "large_file_skip_byte_limit": 0})
    )


@lru_cache(maxsize=4096)
def _unparsable_once(sql: str) -> tuple[str, ...]:
    parsed = _linter().parse_string(sql + ";\n")
    found = [f"grammar: {violation.desc()}" for violation in parsed.violations]
    tree = parsed.tree
    if tree is not None and not found:
        found = [
            f"grammar: cannot parse {segment.raw[:80]!r}"
            for segment in tree.recursive_crawl("unparsable")
        ]
    return tuple(found)


def _unparsable(sql: str) -> list[str]:
    return list(_unparsable_once(sql))
