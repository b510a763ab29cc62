"""The columns that a COPY loads into, and how a staged text becomes a value of each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deployments.local.redshift_double.copy.command import CopyCommand
from deployments.local.redshift_double.errors import Refusal
from deployments.local.redshift_double.session import Session, literal

_NAMES = {"character varying": "varchar", "character": "char", "timestamp without time zone":
          "timestamp", "timestamp with time zone": "timestamptz", "double precision": "float8",
          "bigint": "int8", "integer": "int4", "smallint": "int2", "jsonb": "super",
          "bytea": "varbyte", "boolean": "bool"}  # fmt: skip
_REASONS = {
    "int8": (1207, "Invalid digit or overflow, Type: Long"),
    "int4": (1207, "Invalid digit or overflow, Type: Integer"),
    "int2": (1207, "Invalid digit or overflow, Type: Short"),
    "numeric": (1207, "Invalid digit or overflow, Type: Decimal"),
    "date": (1205, "Invalid Date Format - length must be 10 or more"),
    "timestamp": (1206, "Invalid timestamp format or value [YYYY-MM-DD HH24:MI:SS]"),
    "timestamptz": (1206, "Invalid timestamp format or value [YYYY-MM-DD HH24:MI:SSOF]"),
    "bool": (1210, "Unknown boolean format"),
    "float8": (1207, "Invalid digit, Type: Double"),
    "real": (1207, "Invalid digit, Type: Real"),
    "varbyte": (1207, "Invalid hexadecimal digit, Type: Varbyte"),
    "super": (1224, "Invalid value for SUPER"),
}
_DESCRIBE = """
SELECT c.oid, c.relname, a.attname, a.atttypid::regtype, format_type(a.atttypid, a.atttypmod),
       a.attnotnull, a.attidentity, c.oid::regclass
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.oid = to_regclass({name}) ORDER BY a.attnum"""


@dataclass(frozen=True)
class TargetColumn:
    """One column that is loaded.

    Attributes:
        name: Its name.
        kind: PostgreSQL's type without a size.
        declared: PostgreSQL's type with its size.
        not_null: Whether NULL is refused.
    """

    name: str
    kind: str
    declared: str
    not_null: bool

    @property
    def type_name(self) -> str:
        """Redshift's short name of the type, as the error tables show it."""
        return _NAMES.get(self.kind, self.kind)

    @property
    def size(self) -> int:
        """Bytes of a VARCHAR or CHAR, digits of a DECIMAL, 0 for others."""
        found = re.search(r"\((\d+)", self.declared)
        return int(found[1]) if found else 0

    @property
    def scale(self) -> int | None:
        """Digits after the point of a DECIMAL, None for other types."""
        found = re.fullmatch(r"numeric\(\d+,(\d+)\)", self.declared)
        return int(found[1]) if found else None

    @property
    def is_text(self) -> bool:
        """Whether an empty field is an empty text, not NULL."""
        return self.kind in {"character varying", "character"}

    @property
    def is_binary(self) -> bool:
        """Whether a staged text is hexadecimal digits, which PostgreSQL would take as they are."""
        return self.kind == "bytea"

    @property
    def is_super(self) -> bool:
        """Whether it is SUPER, no text in which is longer than a VARCHAR can be."""
        return self.kind == "jsonb"

    @property
    def reason(self) -> tuple[int, str]:
        """Error code and message for a text that is no value of the type."""
        return _REASONS.get(self.type_name, (1216, "Invalid value"))

    def expression(self, field: str, command: CopyCommand) -> str:
        """Returns the SQL that makes a value of this column from a text column."""
        if self.is_text:
            return field
        if self.is_binary:
            return f"decode(nullif({field}, ''), 'hex')"
        filled = f"nullif(btrim({field}), '')"
        if self.is_super:
            return f"redshift_double.super_of({filled})"
        epoch = {"epochsecs": "1", "epochmillisecs": "1000"}.get(command.time_format)
        if self.kind.startswith("timestamp") and epoch:
            return f"(to_timestamp({filled}::float8 / {epoch}) AT TIME ZONE 'utc')"
        if self.scale is not None and "ROUNDEC" not in command.flags:
            digits = f"translate(lower({filled}), 'n', '?')"  # PostgreSQL knows NaN and infinity
            return f"trunc({digits}::numeric, {self.scale})::{self.declared}"
        return f"{filled}::{self.declared}"


@dataclass(frozen=True)
class Target:
    """The table a COPY loads into."""

    oid: int
    name: str
    sql_name: str
    columns: tuple[TargetColumn, ...]

    @property
    def column_list(self) -> str:
        """The loaded columns in brackets, quoted."""
        return "(" + ", ".join(quote(column.name) for column in self.columns) + ")"


def quote(name: str) -> str:
    """Returns a name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


async def describe_target(session: Session, command: CopyCommand) -> Target:
    """Returns the table and the columns that the files fill, in the files' order.

    Raises:
        Refusal: There is no such table or column.
    """
    found = (await session.run(_DESCRIBE.format(name=literal(command.table)))).require().rows
    if not found:
        raise Refusal(f"relation {command.table} does not exist", "42P01")
    described = {
        str(row[2]): TargetColumn(str(row[2]), str(row[3]), str(row[4]), row[5] == "t")
        for row in found
        if not row[6] or (command.columns and row[2] in command.columns)
    }
    wanted = command.columns or tuple(described)
    for name in wanted:
        if name not in described:
            raise Refusal(f'column "{name}" of relation "{found[0][1]}" does not exist', "42703")
    oid, name, sql_name = int(str(found[0][0])), str(found[0][1]), str(found[0][7])
    return Target(oid, name, sql_name, tuple(described[name] for name in wanted))
