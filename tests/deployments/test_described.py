"""Every field of a spec, column of Ferry's own tables, error and setting stands in a page.

And the forms of runs say which of their dates go together.
"""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema

from deployments.described import TABLES, OwnTable, errors
from ferry.errors import FerryError
from ferry.runs.watch_notice import no_worker_notice
from ferry.settings import ELSEWHERE, SETTINGS
from ferry.specs.json_schema import tables_json_schema
from flows.build_summary import build_summary
from flows.reconcile_tables import reconcile

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference.md").read_text()
OWN = re.compile(r"^\w+ = TableName\(OWN_SCHEMA, \"(\w+)\"\)$", re.MULTILINE)


def section(title: str) -> dict[str, list[str]]:
    """The rows of the table below a heading: the cells, by the name in the first one."""
    text = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = [line.strip("|") for line in text.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split(" | ")] for line in lines]
    return {row[0].strip(" `"): row[1:] for row in rows if row[0].startswith("`")}


def subclasses(kind: type[FerryError]) -> set[type[FerryError]]:
    return {kind}.union(*(subclasses(each) for each in kind.__subclasses__()))


def test_every_field_of_a_spec_is_described() -> None:
    rows = section("Fields of a table's spec")
    fields = tables_json_schema()["properties"]["defaults"]["properties"]
    assert list(rows) == list(fields)
    assert [name for name, (_, says) in rows.items() if not says.strip(" |")] == []
    assert rows["source"][0] == "refused" and rows["part_size_mb"][0] == "`128`"


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.name))
def test_every_column_is_described(table: OwnTable) -> None:
    rows = section(str(table.name))
    assert list(rows) == [each.name for each in table.columns]
    assert [name for name, (_, says) in rows.items() if not says.strip(" |")] == []
    for column in table.columns:
        null = ", or NULL" if column.nullable else ""
        assert rows[column.name][0] == f"{column.type.kind}{null}", column.name


def test_every_table_of_ferrys_own_is_described() -> None:
    files = [file for room in ("ferry", "tasks", "flows") for file in (ROOT / room).rglob("*.py")]
    found = sorted(name for file in files for name in OWN.findall(file.read_text()))
    assert found == sorted(each.name.name for each in TABLES)
    listed = re.findall(r"^\| \[`ferry\.(\w+)`\]", PAGE, re.MULTILINE)
    assert sorted(listed) == found


def test_every_error_is_described() -> None:
    told = errors(ROOT)
    for each in told:
        importlib.import_module(".".join(each.file.with_suffix("").parts))
    rooms = ("ferry.", "blocks.", "tasks.", "flows.", "deployments.")
    known = {each.__name__ for each in subclasses(FerryError) if each.__module__.startswith(rooms)}
    rows = section("Errors")
    assert len(known) > 15
    assert set(rows) == known
    assert [name for name, cells in rows.items() if not cells[-1].strip(" |")] == []


def test_every_setting_is_described() -> None:
    rows = section("Settings")
    assert sorted(rows) == sorted((*SETTINGS, *ELSEWHERE))
    assert [
        name for name, cells in rows.items() if not all(cell.strip(" |") for cell in cells)
    ] == []


def test_whoever_starts_a_worker_reads_which_settings_it_has_to_have() -> None:
    """Without one of them it takes what is shipped, and fails at nothing."""
    read = [name for name, (by, _) in section("Settings").items() if "workers" in by]
    assert len(read) == 3
    step = (ROOT / "docs/runbook.md").read_text().split("\n5. The worker: ")[1].split("\n6. ")[0]
    notice = no_worker_notice("ferry-pool").body
    assert [name for name in read if f"`{name}`" not in step or name not in notice] == []


@pytest.mark.parametrize("flow", [reconcile, build_summary], ids=lambda flow: str(flow.name))
def test_dates_of_which_one_alone_is_refused_say_so_in_the_form(flow: Flow[..., Any]) -> None:
    form = parameter_schema(flow).properties
    for name, other in (("start_date", "end_date"), ("end_date", "start_date")):
        said = " ".join(form[name]["description"].split())
        assert f"together with `{other}`" in said
        assert "by default" not in said


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[^\w-]", each)[0] for each in needed}
    page = (ROOT / "docs/decisions/0001-dependencies.md").read_text()
    cells = re.findall(r"^\| ([^|]*) \|", page, re.MULTILINE)
    told = {name for cell in cells for name in cell.split(", ")} - {"package", "---"}
    assert told == names
