"""What the code itself says of a spec's fields, Ferry's own tables and errors, for a page."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic.fields import FieldInfo

from ferry.audits.table import AUDIT_COLUMNS, AUDITS, AuditRecord
from ferry.coverage.table import COVERAGE, COVERAGE_COLUMNS
from ferry.receipts.failures import FAILURE_COLUMNS, FAILURES, Failure
from ferry.receipts.receipt import RECEIPT_COLUMNS, RECEIPTS, Receipt
from ferry.schema import Column, TableName
from ferry.specs.tables import TableSpec
from ferry.summaries.publications import OWN_TABLES, PUBLICATIONS, Publication

ROOT_ERROR = "FerryError"
RETRIABLE = "RetriableError"


@dataclass(frozen=True)
class OwnTable:
    """One of Ferry's own tables in the warehouse.

    Attributes:
        name: The table.
        columns: Its columns, in order.
        row: The class whose attributes are its columns, and whose docstring describes them; None
            where people describe them in the page.
    """

    name: TableName
    columns: Sequence[Column]
    row: type | None = None


TABLES = (
    OwnTable(RECEIPTS, RECEIPT_COLUMNS, Receipt),
    OwnTable(FAILURES, FAILURE_COLUMNS, Failure),
    OwnTable(COVERAGE, COVERAGE_COLUMNS),
    OwnTable(AUDITS, AUDIT_COLUMNS, AuditRecord),
    *(
        OwnTable(name, columns, Publication if name == PUBLICATIONS else None)
        for name, columns in OWN_TABLES
    ),
)


@dataclass(frozen=True)
class ErrorClass:
    """An error that Ferry raises on purpose.

    Attributes:
        name: The class.
        base: The class that it is a kind of.
        file: Where it stands, from the root.
        says: The first line of its docstring.
        retriable: Whether the step that raises it is tried again.
    """

    name: str
    base: str
    file: Path
    says: str
    retriable: bool


def parts(root: Path) -> dict[str, list[str]]:
    """The lines of each part of the page that the code can tell."""
    tables = {str(each.name): table_lines(each) for each in TABLES if each.row}
    return {"spec": spec_lines(), **tables, "errors": error_lines(root)}


def spec_lines() -> list[str]:
    """A row for each field of a table's spec: what it is if it is left out, and what it says."""
    return [
        "| field | if left out | says |",
        "| --- | --- | --- |",
        *(
            f"| `{each.alias or name}` | {_left_out(name, each)} | {_cell(each.description)} |"
            for name, each in TableSpec.model_fields.items()
            if name != "name"  # the key in the file, not a field
        ),
    ]


def _left_out(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "the table's name" if name == "source_table" else "refused"
    default = field.get_default()
    return "" if default is None or default == () else f"`{json.dumps(default)}`"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def table_lines(table: OwnTable) -> list[str]:
    """A row for each column of a table whose columns are described in the code."""
    assert table.row
    described = attributes(table.row)
    return [
        "| column | type | says |",
        "| --- | --- | --- |",
        *(
            f"| `{each.name}` | {each.type.kind}{', or NULL' if each.nullable else ''} | "
            f"{described.get(each.name, '')} |"
            for each in table.columns
        ),
    ]


def attributes(described: type) -> dict[str, str]:
    """What the section `Attributes` of a class's docstring says of each name, in one line each."""
    _, _, section = inspect.getdoc(described).partition("\nAttributes:\n")  # type: ignore[union-attr]
    found = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", section, re.MULTILINE)
    return {name: re.sub(r"\bNone\b", "NULL", " ".join(text.split())) for name, text in found}


def error_lines(root: Path) -> list[str]:
    """A row for each error: what it is a kind of, whether a step is tried again, what it says."""
    return [
        "| error | a kind of | tried again | says |",
        "| --- | --- | --- | --- |",
        *(
            f"| `{each.name}` | `{each.base}` | {'yes' if each.retriable else 'no'} | {each.says} |"
            for each in errors(root)
        ),
    ]


def errors(root: Path) -> list[ErrorClass]:
    """Every error class of the code: those of `ferry/errors.py`, then by file."""
    classes = [
        (file, node)
        for room in ("ferry", "blocks", "tasks", "flows", "deployments")
        for file in sorted((root / room).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    classes.sort(key=lambda found: found[0] != root / "ferry" / "errors.py")
    bases = {
        node.name: base.id
        for _, node in classes
        for base in node.bases[:1]
        if isinstance(base, ast.Name)
    }
    return [
        ErrorClass(
            node.name,
            bases[node.name],
            file.relative_to(root),
            (ast.get_docstring(node) or "").split("\n")[0],
            RETRIABLE in _line(node.name, bases),
        )
        for file, node in classes
        if ROOT_ERROR in _line(node.name, bases)
    ]


def _line(name: str, bases: dict[str, str]) -> list[str]:
    """The class and what it is a kind of, up to the root."""
    line = [name]
    while line[-1] in bases and bases[line[-1]] not in line:
        line.append(bases[line[-1]])
    return line
