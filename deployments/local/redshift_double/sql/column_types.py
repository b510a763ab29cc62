"""Redshift's column types in PostgreSQL's words, and the ones that Redshift does not have."""

from __future__ import annotations

from deployments.local.redshift_double.errors import Refusal, unsupported
from deployments.local.redshift_double.sql.tokens import Edits, Statement

VARCHAR_BYTES = 65535
DECIMAL_DIGITS = 38
DECIMAL_SCALE = 37

_VARCHAR = {"VARCHAR", "CHARACTER VARYING", "NVARCHAR", "CHAR VARYING"}
_CHAR = {"CHAR", "CHARACTER", "NCHAR"}
_DECIMAL = {"DECIMAL", "NUMERIC"}
_BINARY = {"VARBYTE", "VARBINARY", "BINARY VARYING"}
_PLAIN = {
    "SMALLINT", "INT2", "INTEGER", "INT", "INT4", "BIGINT", "INT8", "REAL", "FLOAT4",
    "DOUBLE PRECISION", "FLOAT8", "FLOAT", "BOOLEAN", "BOOL", "DATE", "TIMESTAMP", "TIMESTAMPTZ",
    "TIMESTAMP WITHOUT TIME ZONE", "TIMESTAMP WITH TIME ZONE", "TIME", "TIMETZ",
    "TIME WITHOUT TIME ZONE", "TIME WITH TIME ZONE",
}  # fmt: skip
_RENAMED = {"SUPER": "jsonb", "TEXT": "varchar(256)", "BPCHAR": "char(256)"}
_KNOWN = _VARCHAR | _CHAR | _DECIMAL | _BINARY | _PLAIN | set(_RENAMED)


def read_type(statement: Statement, first: int) -> tuple[str, int]:
    """Returns the type's words from ``first`` on, the longest that Redshift knows, and its end."""
    for count in (4, 3, 2, 1):
        words = [statement.word(first + i) for i in range(count)]
        name = " ".join(words)
        if all(words) and name in _KNOWN:
            return name, first + count
    return statement.tokens[first].text.upper(), first + 1


def rewrite_type(statement: Statement, edits: Edits, column: str, first: int) -> int:
    """Puts PostgreSQL's type in the place of Redshift's in a column definition.

    Args:
        statement: The CREATE or ALTER TABLE statement.
        edits: Where the change is noted.
        column: The column's name, for messages.
        first: Index of the type's first token.

    Returns:
        The index after the type.

    Raises:
        Refusal: Redshift has no such type, or not of that size.
    """
    name, end = read_type(statement, first)
    if name not in _KNOWN:
        raise Refusal(f'Column "{column}" has unsupported type "{name.lower()}".')
    sizes: list[str] = []
    if statement.word(end) == "(":
        closing = statement.closing(end)
        sizes = [token.text for token in statement.tokens[end + 1 : closing] if token.text != ","]
        end = closing + 1
    if statement.word(end) == "[" or statement.word(end) == "ARRAY":
        raise Refusal(f'Column "{column}" has unsupported type "{name.lower()}[]".')
    edits.replace(first, end, _spelled(name, sizes))
    return end


def _spelled(name: str, sizes: list[str]) -> str:
    if name in _RENAMED:
        return _RENAMED[name]
    if name in _BINARY:
        return "bytea"
    if name in _VARCHAR | _CHAR:
        size = sizes[0] if sizes else ("256" if name in _VARCHAR else "1")
        size = str(VARCHAR_BYTES) if size == "MAX" else size
        kind, limit = ("varchar", VARCHAR_BYTES) if name in _VARCHAR else ("char", 4096)
        if not size.isdigit() or int(size) > limit:
            raise Refusal(f"length for type {kind} cannot exceed {limit}", "22023")
        return f"{kind}({size})"
    if name in _DECIMAL:
        digits, scale = [*(sizes or ["18"]), "0"][:2]
        if not 1 <= int(digits) <= DECIMAL_DIGITS:
            raise Refusal(
                f"DECIMAL precision {digits} must be between 1 and {DECIMAL_DIGITS}", "22023"
            )
        if int(scale) > DECIMAL_SCALE:
            raise Refusal(f"DECIMAL scale {scale} must be between 0 and {DECIMAL_SCALE}", "22023")
        return f"numeric({digits}, {scale})"
    if sizes and name != "FLOAT":
        raise unsupported(f"a length for type {name.lower()}")
    return name.lower() + (f"({sizes[0]})" if sizes else "")
