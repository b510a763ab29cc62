"""COPY's slow path: record by record, to change values as options ask and to find what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

from deployments.local.redshift_double.copy.command import CopyCommand
from deployments.local.redshift_double.copy.files import FileRow, rows
from deployments.local.redshift_double.copy.manifest import StagedFile
from deployments.local.redshift_double.copy.target import Target, TargetColumn
from deployments.local.redshift_double.session import Session, literal

SCRATCH = "pg_temp.redshift_double_load"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_DAY = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?"
_SURELY_GOOD = {
    "bigint": "-?[0-9]{1,18}",
    "integer": "-?[0-9]{1,9}",
    "smallint": "-?[0-9]{1,4}",
    "double precision": "-?[0-9]{1,15}([.][0-9]{0,15})?",
    "real": "-?[0-9]{1,15}([.][0-9]{0,15})?",
    "boolean": "t|f|true|false|0|1",
    "date": _DAY,
    "timestamp without time zone": f"{_DAY}[ T]{_TIME}",
    "timestamp with time zone": f"{_DAY}[ T]{_TIME}([+]00)?",
}


@dataclass(frozen=True)
class LoadError:
    """One bad record, as the error tables tell it."""

    uri: str
    line: int
    column: str
    type: str
    length: str
    raw_line: str
    raw_value: str
    code: int
    reason: str


class LoadFailed(Exception):  # noqa: N818 - an answer of COPY
    """The load stops; its errors go to the error tables."""

    def __init__(self, errors: list[LoadError]) -> None:
        super().__init__("load failed")
        self.errors = errors


class SlowRoad:
    """Loads files through a scratch table of texts that knows file and line."""

    def __init__(
        self, session: Session, command: CopyCommand, target: Target, files: list[StagedFile]
    ) -> None:
        self._session = session
        self._command = command
        self._target = target
        self._files = files
        self._errors: list[LoadError] = []

    async def load(self) -> int:
        """Loads all good records and returns their number.

        Raises:
            LoadFailed: More records are bad than MAXERROR lets through.
            Refusal: The backend refused something else.
        """
        await make_scratch(self._session, self._target)
        fed = await self._session.copy_in(f"COPY {SCRATCH} FROM STDIN", self._lines())
        fed.require()
        bad = await self._bad_values()
        self._errors += bad
        if len({(e.uri, e.line) for e in self._errors}) > self._command.max_error:
            self._errors.sort(key=lambda error: (error.uri, error.line))
            raise LoadFailed(self._errors[: self._command.max_error + 1])
        return await load_scratch(self._session, self._command, self._target)

    def _lines(self) -> Iterator[bytes]:
        """Yields good records in COPY's text format, in pieces of about a megabyte."""
        names = [column.name for column in self._target.columns]
        piece: list[str] = []
        size = 0
        try:
            for row in rows(self._command, self._session.world.s3, self._files, names):
                values = self._checked(row)
                if values is None:
                    if len(self._errors) > self._command.max_error:
                        break
                    continue
                texts = ["\\N" if v is None else v.translate(_ESCAPES) for v in values]
                line = "\t".join([str(row.file), str(row.line), *texts])
                piece.append(line + "\n")
                size += len(line)
                if size > 1 << 20:
                    yield "".join(piece).encode()
                    piece, size = [], 0
        except json.JSONDecodeError as error:
            self._errors.append(
                self._error(FileRow(0, error.lineno, []), None, 1213, "Invalid value in JSON")
            )
        if piece:
            yield "".join(piece).encode()

    def _checked(self, row: FileRow) -> list[str | None] | None:
        columns, flags = self._target.columns, self._command.flags
        values = list(row.values)
        if len(values) < len(columns) and "FILLRECORD" in flags:
            values += [None] * (len(columns) - len(values))
        if len(values) != len(columns):
            few = len(values) < len(columns)
            code, reason = (1214, "Delimiter not found") if few else (1202, "Extra column(s) found")
            self._errors.append(self._error(row, None, code, reason))
            return None
        for index, column in enumerate(columns):
            value, fault = self._value(values[index], column)
            if fault:
                self._errors.append(self._error(row, index, *fault))
                return None
            values[index] = value
        return values

    def _value(
        self, value: str | None, column: TargetColumn
    ) -> tuple[str | None, tuple[int, str] | None]:
        """Returns a value as the options change it, and what is wrong with it."""
        flags = self._command.flags
        if value == "" and ("EMPTYASNULL" in flags or not column.is_text):
            value = None
        if value is not None and not value.strip() and value and "BLANKSASNULL" in flags:
            value = None
        if value is None:
            return None, (1213, "Missing data for not-null field") if column.not_null else None
        if "\0" in value or not _is_unicode(value):
            if "ACCEPTINVCHARS" not in flags:
                return value, (1220, "String contains invalid or unsupported UTF8 codepoints.")
            value = "".join("?" if c == "\0" or "\ud800" <= c <= "\udfff" else c for c in value)
        if column.is_text:
            encoded = value.encode()
            if column.kind == "character" and not value.isascii():
                return value, (1220, "Multibyte character not supported for CHAR")
            if column.size and len(encoded) > column.size:
                if "TRUNCATECOLUMNS" not in flags:
                    return value, (1204, "String length exceeds DDL length")
                value = encoded[: column.size].decode(errors="ignore")
        return value, None

    async def _bad_values(self) -> list[LoadError]:
        """Asks the backend for texts that are no value of their column's type."""
        found: list[LoadError] = []
        limit = self._command.max_error + 1
        for index, column in enumerate(self._target.columns):
            if column.is_text or self._command.time_format != "auto":
                continue
            field = f"c{index}"
            sql = (
                f"DELETE FROM {SCRATCH} WHERE ctid IN (SELECT ctid FROM {SCRATCH} "  # noqa: S608
                f"WHERE {field} IS NOT NULL AND {_suspicious(field, column)} "
                f"redshift_double.cast_error(btrim({field}), {literal(column.declared)}) "
                f"IS NOT NULL LIMIT {limit}) RETURNING *"
            )
            for row in (await self._session.run(sql)).require().rows:
                bad = FileRow(int(row[0] or 0), int(row[1] or 0), list(row[2:]))
                found.append(self._error(bad, index, *column.reason))
        return found

    def _error(self, row: FileRow, index: int | None, code: int, reason: str) -> LoadError:
        column = None if index is None else self._target.columns[index]
        raw_line = self._command.delimiter.join(v or "" for v in row.values)
        value = "" if index is None else row.values[index] or ""
        clean = (
            raw_line.encode(errors="replace").decode().replace("\0", "?"),
            value.encode(errors="replace").decode().replace("\0", "?"),
        )
        return LoadError(
            uri=self._files[row.file].uri,
            line=row.line,
            column=column.name if column else "",
            type=column.type_name if column else "",
            length=str(column.size) if column else "",
            raw_line=clean[0][:1024],
            raw_value=clean[1][:1024],
            code=code,
            reason=reason,
        )


def _is_unicode(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _suspicious(field: str, column: TargetColumn) -> str:
    """Returns a cheap SQL condition that leaves out texts which are surely good."""
    good = _SURELY_GOOD.get(column.kind)
    if column.scale is not None:
        digits = column.size - column.scale
        good = (f"-?[0-9]{{1,{digits}}}" if digits else "-?0") + "([.][0-9]*)?"
    return f"{field} !~ '^({good})$' AND" if good else ""


async def make_scratch(session: Session, target: Target) -> None:
    """Makes the scratch table: file, line and one text column for each field."""
    fields = "".join(f", c{index} text" for index in range(len(target.columns)))
    await session.run("DROP TABLE IF EXISTS " + SCRATCH)
    sql = f"CREATE TEMP TABLE redshift_double_load (file int, line bigint{fields}) ON COMMIT DROP"
    (await session.run(sql)).require()


async def load_scratch(session: Session, command: CopyCommand, target: Target) -> int:
    """Moves the scratch table's records into the target; returns their number.

    Raises:
        Refusal: A value is not one of its column's type.
    """
    values = ", ".join(c.expression(f"c{i}", command) for i, c in enumerate(target.columns))
    moved = await session.run(
        f"INSERT INTO {target.sql_name} {target.column_list} OVERRIDING SYSTEM VALUE "  # noqa: S608
        f"SELECT {values} FROM {SCRATCH}"
    )
    moved.require()
    await session.run("DROP TABLE " + SCRATCH)
    return int(moved.tag.rsplit(" ", 1)[-1])
