"""Where a table is cut into ranges of its key: the values, and the conditions that they make.

A range is `key >= one value AND key < the next`, the first without the one and the last without the
other, so that every row is in exactly one, whatever the values are. They are asked of the server,
in its own order, and given back to it byte by byte: no comparison is made here. So the order is
that of the column's collation, where 'a' and 'A' may be one. Until they are given back they are
digits, or bytes in hexadecimal, so that they can be kept somewhere, and no SQL can come of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pymysql
from pymysql.cursors import Cursor

from blocks.sources.mysql import catalog
from blocks.sources.mysql.catalog import IndexColumn
from blocks.sources.mysql.errors import is_the_server_s, number_of
from blocks.sources.mysql.estimates import cut_integers, expected_rows
from blocks.sources.mysql.select import Select, table_name
from blocks.sources.mysql.types import quote
from ferry.resume.cuts import Cuts, CutValue
from ferry.schema import TableName

SAMPLE_ROWS = 5000
"""About so many keys are looked at: the parts are then even to a few in a hundred, and not much
less so where there are a tenth of the rows that the server expects, as in a window."""

MOST_SAMPLED = 100_000
"""And no more, should there be far more rows than the server expects."""

UNEVEN = 1.25
"""A part may be so much longer than its share, if that makes the condition a simple one."""


_INTEGERS = {"tinyint", "smallint", "mediumint", "int", "bigint"}
_TEXTS = {"char", "varchar"}
_BINARIES = {"binary", "varbinary"}
_CASTS = {"date": "DATE", "datetime": "DATETIME(6)", "timestamp": "DATETIME(6)", "uuid": "UUID"}
_CUT = {*_INTEGERS, *_TEXTS, *_BINARIES, *_CASTS, "decimal"}


def cut(cursor: Cursor, select: Select, database: str, key: Sequence[str], count: int) -> Cuts:
    """Cut what a SELECT reads into so many ranges of about as many rows each, or fewer.

    By the primary key; without one, by an index that begins with the spec's key. Integers by the
    server's estimates of the rows between two of them, if all of the table is read: that costs
    milliseconds, however long it is. Anything else by a sample of the keys, for which the server
    scans the shortest index that has them.

    Args:
        cursor: A cursor on the server.
        select: What is read.
        database: Where tables without a schema are.
        key: The spec's key.
        count: How many ranges.

    Raises:
        pymysql.MySQLError: The caller turns it into Ferry's.
    """
    indexes = catalog.indexes(cursor, select.query.schema.name, database)
    columns, is_primary = _columns(indexes, key)
    if not columns:
        return Cuts(why="it has no primary key by which it can be cut")
    try:
        values: list[CutValue] | None = None
        if is_primary and not select.bounded and columns[0].data_type in _INTEGERS:
            table = table_name(select.query.schema.name, database)
            values = cut_integers(cursor, table, columns[0], count)
        if values is None:
            values = _by_sample(cursor, select, columns, count)
            if not _in_its_order(cursor, columns, values):
                return Cuts(why="the server does not sort keys that are alike for so long")
    except pymysql.MySQLError as error:
        if is_the_server_s(error):
            return Cuts(why=f"the server does not tell where to cut it (error {number_of(error)})")
        raise
    if not values:
        return Cuts(why="it has too few rows")
    return Cuts(_described(columns), tuple(values))


def conditions(
    cursor: Cursor, table: TableName, database: str, key: Sequence[str], cuts: Cuts
) -> list[str] | None:
    """What is true of the rows of each range; None if the table cannot be cut so any more.

    Another collation is another order, by which a row is in another range.

    Args:
        cursor: A cursor on the server.
        table: The table.
        database: Where tables without a schema are.
        key: The spec's key.
        cuts: Where it was cut, by `cut`.

    Raises:
        pymysql.MySQLError: The caller turns it into Ferry's.
    """
    columns, _ = _columns(catalog.indexes(cursor, table, database), key)
    if not cuts.values or _described(columns) != cuts.by:
        return None
    with suppress(ValueError):  # what was kept somewhere is no value any more
        return _conditions(columns, cuts.values)
    return None


@dataclass(frozen=True)
class InOrder:
    """What makes a SELECT read some pieces of a table, one after the other.

    Attributes:
        number: The expression of the number of a row's piece.
        within: What is true of the rows of these pieces; empty if it is of all.
        order: The columns by which they come in order: the beginning of the primary key.
    """

    number: str
    within: str
    order: str


def in_order(
    cursor: Cursor, table: TableName, database: str, cuts: Cuts, pieces: Sequence[int]
) -> InOrder | None:
    """How to read these pieces in their order; None if the table cannot be cut so any more.

    Args:
        cursor: A cursor on the server.
        table: The table.
        database: Where tables without a schema are.
        cuts: Where it was cut, by `cut`, at values of its primary key.
        pieces: Which pieces, in their order.

    Raises:
        pymysql.MySQLError: The caller turns it into Ferry's.
    """
    columns, _ = _columns(catalog.indexes(cursor, table, database), ())
    of = catalog.identity(cursor, table, database)
    if not cuts.values or (_described(columns), of) != (cuts.by, cuts.of):
        return None
    # With the table's name: in ORDER BY, a name alone may be one of the result's own columns.
    names = [f"{table_name(table, database)}.{quote(column.name)}" for column in columns]
    with suppress(ValueError):  # what was kept somewhere is no value any more
        literals = _literals(columns, cuts.values)
        runs = [_bounds(names, *_run(literals, *run)) for run in _runs(pieces)]
        within = " OR ".join(f"({run})" for run in runs) if all(runs) else ""
        return InOrder(_number(names, literals, 0), within, ", ".join(names))
    return None


def _runs(pieces: Sequence[int]) -> list[tuple[int, int]]:
    """The first and the last of those that follow on one another."""
    runs: list[tuple[int, int]] = []
    for piece in pieces:
        if runs and runs[-1][1] == piece - 1:
            runs[-1] = runs[-1][0], piece
        else:
            runs.append((piece, piece))
    return runs


def _run(cuts: Sequence[CutValue], first: int, last: int) -> tuple[CutValue, CutValue]:
    """Where the first of these pieces begins and the last ends; empty at the table's ends."""
    ends = ((), *cuts, ())
    return ends[first], ends[last + 1]


def _number(names: Sequence[str], cuts: Sequence[CutValue], first: int) -> str:
    """The number of a row's piece, of those that these cuts make, halved until one is left."""
    if not cuts:
        return str(first)
    half = len(cuts) // 2
    below, above = cuts[:half], cuts[half + 1 :]
    return (
        f"IF({_before(names, cuts[half])}, {_number(names, below, first)}, "
        f"{_number(names, above, first + half + 1)})"
    )


def _described(columns: Sequence[IndexColumn]) -> tuple[str, ...]:
    return tuple(f"{c.name} {c.data_type} {c.collation or ''}".rstrip() for c in columns)


def _columns(
    indexes: Mapping[str, tuple[IndexColumn, ...]], key: Sequence[str]
) -> tuple[tuple[IndexColumn, ...], bool]:
    """The columns by which the table can be cut, in their order in an index; if it is the primary.

    NULL is in no range, so that a column that takes it is not among them.
    """
    wanted = {name.lower() for name in key}
    for name, index in indexes.items():
        leading = {column.name.lower() for column in index[: len(wanted)]}
        is_primary = name == catalog.PRIMARY
        if is_primary or (wanted and leading == wanted):
            usable = _usable(index if is_primary else index[: len(wanted)])
            if usable:
                return usable, is_primary
    return (), False


def _usable(index: Sequence[IndexColumn]) -> tuple[IndexColumn, ...]:
    for n, column in enumerate(index):
        if not column.whole or column.nullable or column.data_type not in _CUT:
            return tuple(index[:n])
    return tuple(index)


# --- Values: asked for exactly, and written as they were -----------------------------------------


def _asked(column: IndexColumn, name: str) -> str:
    """The expression that tells a value of the column without loss, under this name."""
    if column.data_type in _TEXTS | _BINARIES:
        return f"HEX({name})"  # the bytes in the column's own character set
    return f"CAST({name} AS CHAR)"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _literal(column: IndexColumn, text: str) -> str:
    """The value as SQL: digits, or bytes in hexadecimal, so that no value can be read as SQL."""
    if column.data_type in _INTEGERS:
        return str(int(text))
    if column.data_type in _BINARIES:
        return f"X'{bytes.fromhex(text).hex()}'"
    if column.data_type in _TEXTS:
        return f"_{column.character_set} X'{bytes.fromhex(text).hex()}'"
    if column.data_type == "decimal":
        if not re.fullmatch(r"-?[0-9]+([.][0-9]+)?", text):
            raise ValueError("a value of the key that is no number")
        return text
    return f"_utf8mb4 X'{text.encode().hex()}'"


# --- Conditions ----------------------------------------------------------------------------------


def _conditions(columns: Sequence[IndexColumn], cuts: Sequence[CutValue]) -> list[str]:
    names, ends = [quote(column.name) for column in columns], ((), *_literals(columns, cuts), ())
    return [_bounds(names, low, high) for low, high in pairwise(ends)]


def _literals(columns: Sequence[IndexColumn], cuts: Sequence[CutValue]) -> list[CutValue]:
    return [
        tuple(_literal(column, each) for column, each in zip(columns, value, strict=False))
        for value in cuts
    ]


def _bounds(names: Sequence[str], low: CutValue, high: CutValue) -> str:
    bounds = [_at_or_after(names, low)] if low else []
    bounds += [_before(names, high)] if high else []
    return " AND ".join(f"({bound})" for bound in bounds)


def _at_or_after(names: Sequence[str], value: Sequence[str]) -> str:
    """`(a, b) >= (x, y)`, in the form of which MySQL reads a range of the index."""
    name, first = names[0], value[0]
    if len(value) == 1:
        return f"{name} >= {first}"
    return f"{name} > {first} OR ({name} = {first} AND ({_at_or_after(names[1:], value[1:])}))"


def _before(names: Sequence[str], value: Sequence[str]) -> str:
    name, first = names[0], value[0]
    if len(value) == 1:
        return f"{name} < {first}"
    return f"{name} < {first} OR ({name} = {first} AND ({_before(names[1:], value[1:])}))"


def _in_its_order(cursor: Cursor, columns: Sequence[IndexColumn], cuts: Sequence[CutValue]) -> bool:
    """Whether the server has each value before the next: of text it sorts the beginning alone.

    What is alike there (`max_sort_length`, 1,024 bytes) it leaves as it came. Ranges between
    values that are out of order would have rows in common.
    https://dev.mysql.com/doc/refman/8.4/en/server-system-variables.html#sysvar_max_sort_length
    """
    if len(cuts) < 2 or not any(column.data_type in _TEXTS | _BINARIES for column in columns):
        return True
    before = [
        f"({_before([_typed(*each) for each in zip(columns, low, strict=False)], high)})"
        for low, high in pairwise(_literals(columns, cuts))
    ]
    cursor.execute(f"SELECT {' AND '.join(before)}")  # literals
    return cursor.fetchone() == (1,)


def _typed(column: IndexColumn, literal: str) -> str:
    """The literal, compared as the column's values are."""
    if column.data_type in _TEXTS:
        return f"{literal} COLLATE {column.collation}"
    if column.data_type in _CASTS:
        return f"CAST({literal} AS {_CASTS[column.data_type]})"
    return literal


# --- By a sample ---------------------------------------------------------------------------------


def _by_sample(
    cursor: Cursor, select: Select, columns: Sequence[IndexColumn], count: int
) -> list[CutValue]:
    """Cut where the server has the sampled keys that lie at even distances, in its own order."""
    rows = expected_rows(cursor, select) or 0
    names = [quote(column.name) for column in columns]
    number = (
        f"CRC32({names[0]})"
        if len(names) == 1
        else f"CRC32(CONCAT_WS(',', {', '.join(f'HEX({name})' for name in names)}))"
    )
    chosen = f"{number} % {max(1, rows // SAMPLE_ROWS)} = 0"
    keys = ", ".join(f"{name} AS k{n}" for n, name in enumerate(names))
    values = ", ".join(_asked(column, f"k{n}") for n, column in enumerate(columns))
    order = ", ".join(f"k{n}" for n in range(len(names)))
    # The limit keeps the server from sorting all keys, or reading all rows in the key's order.
    cursor.execute(
        f"SELECT /* {select.tag} */ {values} FROM "  # noqa: S608  # quoted names, our own numbers
        f"(SELECT {keys} {select.and_where(chosen)} LIMIT {MOST_SAMPLED}) AS sampled "
        f"ORDER BY {order}"
    )
    sampled = [tuple(map(_text, row)) for row in cursor.fetchall()]
    return even_cuts(sampled, count)


def even_cuts(sampled: Sequence[CutValue], count: int) -> list[CutValue]:
    """The values that cut a sorted sample into even parts, as short as they can be.

    By the first column alone if that makes the parts even, too, else by the first two, and so on.
    """
    if len(sampled) < count:
        return []
    positions = [len(sampled) * n // count for n in range(1, count)]
    whole = len(sampled[0])
    for length in range(1, whole + 1):
        cuts: dict[CutValue, int] = {}
        for position in positions:
            cut = sampled[position][:length]
            first = position
            while first and sampled[first - 1][:length] == cut:
                first -= 1
            if first:
                cuts[cut] = first
        bounds = [0, *cuts.values(), len(sampled)]
        longest = max(end - start for start, end in pairwise(bounds))
        if length == whole or longest <= UNEVEN * len(sampled) / count:
            return list(cuts)
    return []
