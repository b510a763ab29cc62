"""The text of a COPY command, parsed into a value; an option Redshift lacks is a syntax error."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deployments.local.redshift_double.errors import Refusal, syntax_error, unsupported
from deployments.local.redshift_double.sql.tokens import Statement

_IGNORED_WITH_VALUE = {"REGION", "COMPROWS", "READRATIO", "ENCODING"}
_IGNORED_FLAGS = {"SERIALIZETOJSON", "EXPLICIT_IDS", "NOLOAD"}
_ON_OFF = {"COMPUPDATE", "STATUPDATE"}
_FLAGS = {
    "MANIFEST", "ROUNDEC", "EMPTYASNULL", "BLANKSASNULL", "TRUNCATECOLUMNS", "FILLRECORD",
    "ACCEPTINVCHARS", "IGNOREBLANKLINES",
}  # fmt: skip
_COMPRESSIONS = {"GZIP": "gzip", "ZSTD": "zstd"}
_FORMATS = {"CSV": "csv", "PARQUET": "parquet", "JSON": "json"}
_UNDERSTOOD_NOT_DONE = {
    "ACCEPTANYDATE", "ESCAPE", "REMOVEQUOTES", "TRIMBLANKS", "FIXEDWIDTH", "AVRO", "ORC", "BZIP2",
    "LZOP", "SHAPEFILE", "SSH", "ENCRYPTED", "MASTER_SYMMETRIC_KEY",
}  # fmt: skip
_KEYS = {"CREDENTIALS", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"}
_TYPES_ONLY_FOR_TEXT = "TIMEFORMAT", "DATEFORMAT", "NULL", "DELIMITER", "IGNOREHEADER", "QUOTE"


@dataclass(frozen=True)
class CopyCommand:
    """A COPY from S3.

    Attributes:
        table: The target as the text names it, folded to lower case.
        columns: The column list, or None for all.
        uri: Manifest, key or key prefix.
        iam_role: Its name, or ``default``.
        format: csv, parquet or json.
        compression: gzip, zstd or nothing.
        null_as: The text that stands for NULL.
        flags: Options without a value.
        options: Every option's name, for rules of single formats.
        max_error: Bad rows that are let through.
    """

    table: str
    columns: tuple[str, ...] | None
    uri: str
    iam_role: str | None = None
    format: str = "text"
    compression: str = ""
    null_as: str = "\\N"
    delimiter: str = ","
    quote: str = '"'
    ignore_header: int = 0
    max_error: int = 0
    time_format: str = "auto"
    date_format: str = "auto"
    flags: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()


def _literal(statement: Statement, index: int) -> str:
    """Returns a string literal as COPY reads it: one backslash or two before N are the same."""
    if index >= len(statement.tokens):
        raise Refusal("syntax error at end of input", "42601")
    token = statement.tokens[index]
    if token.kind != "string":
        raise syntax_error(token.text.lower())
    raw = statement.text[token.start : token.end]
    return raw[1:-1].replace("''", "'").replace("\\\\", "\\").replace("\\t", "\t")


def _number(statement: Statement, index: int) -> tuple[int, int]:
    index += statement.word(index) == "AS"
    token = statement.tokens[index] if index < len(statement.tokens) else None
    if token is None or not token.text.isdigit():
        raise syntax_error(token.text.lower() if token else "end of input")
    return int(token.text), index + 1


def parse_copy(statement: Statement) -> CopyCommand:
    """Returns the command.

    Raises:
        Refusal: The text is not a COPY that Redshift would run.
    """
    index = statement.qualified_name(1)
    names = [t for t in statement.tokens[1:index] if t.word != "."]
    table = ".".join('"' + t.name.replace('"', '""') + '"' for t in names)
    columns: tuple[str, ...] | None = None
    if statement.word(index) == "(":
        columns = tuple(statement.tokens[first].name for first, _ in statement.items(index))
        index = statement.closing(index) + 1
    if statement.word(index) != "FROM":
        raise syntax_error(statement.word(index).lower() or "end of input")
    command = CopyCommand(table, columns, _literal(statement, index + 1))
    index += 2
    while index < len(statement.tokens):
        command, index = _option(statement, index, command)
    return _checked(command)


def _option(  # noqa: PLR0911, PLR0912 - one branch for each form of option
    statement: Statement, index: int, command: CopyCommand
) -> tuple[CopyCommand, int]:
    word = statement.word(index)
    name, after = word, index + 1
    after_as = after + (statement.word(after) == "AS")
    if word == "FORMAT":
        name, after = statement.word(after_as), after_as + 1
        if name not in _FORMATS:
            raise unsupported(f"FORMAT {name}")
    command = replace(command, options=command.options | {name})
    if name in _FORMATS:
        command = replace(command, format=_FORMATS[name])
        after_as = after + (statement.word(after) == "AS")
        if name == "JSON":
            if _literal(statement, after_as) not in {"auto", "auto ignorecase"}:
                raise unsupported("a JSONPaths file, in this double,")
            after = after_as + 1
        return command, after
    if word in _FLAGS:
        return replace(command, flags=command.flags | {word}), after
    if word in _COMPRESSIONS:
        return replace(command, compression=_COMPRESSIONS[word]), after
    if word in _IGNORED_FLAGS:
        return command, after
    if word in _ON_OFF:
        has_value = statement.word(after) in {"ON", "OFF", "TRUE", "FALSE", "PRESET"}
        return command, after + has_value
    if word in {"MAXERROR", "IGNOREHEADER"}:
        count, after = _number(statement, after)
        field = {"MAXERROR": "max_error", "IGNOREHEADER": "ignore_header"}[word]
        return replace(command, **{field: count}), after  # type: ignore[arg-type]
    if word == "IAM_ROLE" and statement.word(after) == "DEFAULT":
        return replace(command, iam_role="default"), after + 1
    field = {
        "IAM_ROLE": "iam_role", "NULL": "null_as", "DELIMITER": "delimiter", "QUOTE": "quote",
        "TIMEFORMAT": "time_format", "DATEFORMAT": "date_format",
    }.get(word, "")  # fmt: skip
    if field or word in _KEYS or word in _IGNORED_WITH_VALUE:
        value = _literal(statement, after_as)
        return (replace(command, **{field: value}) if field else command), after_as + 1  # type: ignore[arg-type]
    if word in _UNDERSTOOD_NOT_DONE:
        raise unsupported(f"COPY option {word}, in this double,")
    raise syntax_error(statement.tokens[index].text.lower())


def _checked(command: CopyCommand) -> CopyCommand:
    if command.options & _KEYS:
        raise Refusal(
            "COPY with keys in its text is refused: COPY statements are logged. Use IAM_ROLE.",
            "42601",
        )
    if not command.iam_role:
        raise Refusal("CREDENTIALS argument is required but not specified. Use IAM_ROLE.", "42601")
    if command.format == "text":
        raise unsupported("COPY of text with a delimiter, in this double, use CSV; this format")
    if command.format == "parquet":
        # dlt sends MAXERROR 0, the default, with Parquet to real clusters; more is refused
        refused = sorted(command.options & {*_TYPES_ONLY_FOR_TEXT, *_COMPRESSIONS})
        if command.max_error:
            refused.append("MAXERROR")
        if refused:
            raise Refusal(f"{refused[0]} argument is not supported for PARQUET based COPY")
    for form in (command.time_format, command.date_format):
        if form not in {"auto", "epochsecs", "epochmillisecs"} and form.upper() not in {
            "YYYY-MM-DD", "YYYY-MM-DD HH:MI:SS", "YYYY-MM-DD HH24:MI:SS",
        }:  # fmt: skip
            raise unsupported(f"time format {form!r}, in this double,")
    return command
