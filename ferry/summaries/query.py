"""A summary's SQL: sent as it is written where the warehouse speaks it, else translated by sqlglot.

Parameters are named, such as `:window_start`. They become the values of a `Statement` in the order
in which they stand in the text that is sent. Which they are, the tree tells: a colon in a literal
is never taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlglot
from sqlglot import ErrorLevel, exp
from sqlglot.optimizer.annotate_types import annotate_types

from ferry.capabilities import Capabilities
from ferry.errors import SpecError
from ferry.schema import TableName
from ferry.statements import PARAM, Statement, column_list, quoted, table_sql
from ferry.summaries.query_text import QueryText, TextSpan, read
from ferry.summaries.translated import check_meanings, ordered_within, own_query

WRITTEN_IN = "redshift"
"""The SQL of `query.sql` and of the checks."""

WINDOW = ("window_start", "window_end")
"""The parameters that a summary's SQL can have."""

_PARAMS = re.compile(f'"{PARAM}(\\w+){PARAM}"')


@dataclass(frozen=True)
class Query:
    """One SELECT.

    Attributes:
        file: The file it stands in, for messages.
        dialect: The SQL it is written in, as sqlglot names it.
        source_text: Its text, and what that consists of.
        tree: What sqlglot made of it.
    """

    file: str
    dialect: str
    source_text: QueryText
    tree: exp.Expression

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that it yields."""
        return tuple(name.lower() for name in self.tree.named_selects)

    @property
    def parameters(self) -> frozenset[str]:
        """The names of its parameters."""
        return frozenset(each.name for each in self.tree.find_all(exp.Placeholder))

    @property
    def tables(self) -> frozenset[TableName]:
        """The tables that it reads."""
        return frozenset(map(_name, _read(self.tree)))

    def reading(self, table: TableName, instead: str) -> Query:
        """The query with `instead`, a table's name or a subquery, in place of a table."""
        parts = {}
        for node in _read(self.tree):
            if _name(node) == table:
                first, last = node.parts[0], node.parts[-1]
                name = last.name if last.args.get("quoted") else last.name.lower()
                known_as = "" if node.alias else f" AS {quoted(name)}"
                parts[first.meta["start"], last.meta["end"] + 1] = instead + known_as
        return self.with_parts(parts)

    def with_parts(self, parts: Mapping[TextSpan, str]) -> Query:
        """The query with these parts of its text in place of what stands there."""
        source_text, trees = read(self.source_text.with_parts(parts), self.dialect)
        return Query(self.file, self.dialect, source_text, trees[0])

    def text(self, capabilities: Capabilities) -> str:
        """The query in the warehouse's SQL, its parameters as `param` for `bound`.

        As it is written, where that is the query's own.

        Raises:
            SpecError: It cannot be translated, or would then mean something else.
        """
        if self.dialect == capabilities.dialect:
            found = self.tree.find_all(exp.Placeholder)
            return self.source_text.with_parts(
                {self.source_text.span_of(each): param(each.name) for each in found}
            )
        check_meanings(
            self.source_text,
            self.tree,
            capabilities.means_otherwise,
            file=self.file,
            dialect=capabilities.dialect,
        )
        tree = self.tree.copy()
        if self.dialect == WRITTEN_IN:
            # So that a division of whole numbers, where it can be told, is one everywhere.
            tree = annotate_types(tree.transform(ordered_within), dialect=self.dialect)
        tree = tree.transform(
            lambda node: (
                exp.to_identifier(f"{PARAM}{node.name}{PARAM}", quoted=True)
                if isinstance(node, exp.Placeholder)
                else node
            )
        )
        try:
            text: str = tree.sql(
                dialect=capabilities.dialect, comments=False, unsupported_level=ErrorLevel.RAISE
            )
        except sqlglot.errors.UnsupportedError as error:
            raise SpecError(
                f"{self.file}: not to be translated into the warehouse's SQL: {error}",
                todo=f"Write it otherwise. {own_query(capabilities.dialect)}",
            ) from error
        return text


_CHANGES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Into)


def parse_query(
    text: str,
    file: str,
    *,
    dialect: str = WRITTEN_IN,
    line: int = 0,
) -> Query:
    """The query in this text.

    Args:
        text: One SELECT.
        file: Where it stands, for messages.
        dialect: The SQL it is written in.
        line: Added to the lines that are told, for SQL within another file.

    Raises:
        SpecError: Not one SELECT, a table without its schema, or an unknown parameter.
    """
    try:
        source_text, trees = read(text, dialect)
    except sqlglot.errors.SqlglotError as error:
        found = (getattr(error, "errors", None) or [{}])[0]
        at = line + int(found.get("line") or 1)
        reason = found.get("description") or "it cannot be read"
        raise SpecError(f"{file}:{at}: not readable as SQL: {reason}") from error
    tree = trees[0] if len(trees) == 1 else None
    if not isinstance(tree, exp.Query) or PARAM in text or tree.find(*_CHANGES):
        raise SpecError(f"{file}:{line + 1}: expected one SELECT, which changes nothing")
    query = Query(file, dialect, source_text, tree)
    otherwise = {each.name for each in tree.find_all(exp.Placeholder) if "start" not in each.meta}
    unknown = sorted((query.parameters - set(WINDOW)) | otherwise)
    if unknown or tree.find(exp.Parameter):
        raise SpecError(
            f"{file}:{line + 1}: unknown parameters: {', '.join(filter(None, unknown)) or '?'}",
            expected="only " + " and ".join(f":{name}" for name in WINDOW),
        )
    bare = sorted(table.name for table in query.tables if not table.schema)
    if bare:
        raise SpecError(f"{file}:{line + 1}: tables without their schema: {', '.join(bare)}")
    return query


def bound(text: str, values: Mapping[str, Any]) -> Statement:
    """A statement over `Query.text`, with the values of its parameters.

    Args:
        text: The statement; `param(name)` and the parameters of queries stand for values.
        values: The values by name.
    """
    names = _PARAMS.findall(text)
    return Statement(_PARAMS.sub(PARAM, text), tuple(values[name] for name in names))


def param(name: str) -> str:
    """Where a value goes, in a statement for `bound`."""
    return f'"{PARAM}{name}{PARAM}"'


def insert_selected(
    table: TableName, query: Query, columns: Sequence[str], capabilities: Capabilities
) -> str:
    """The query's columns in this order into a table, as a statement for `bound`."""
    names = column_list(columns)
    return (
        f"INSERT INTO {table_sql(table)} ({names}) "  # noqa: S608  # names
        f"SELECT {names} FROM ({query.text(capabilities)}) AS summary"
    )


def _read(tree: exp.Expression) -> list[exp.Table]:
    """The tables of the tree that are no common table expressions."""
    named = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    return [
        table for table in tree.find_all(exp.Table) if table.db or table.name.lower() not in named
    ]


def _name(table: exp.Table) -> TableName:
    return TableName(table.db.lower(), table.name.lower())
