"""The page on architecture says what the code is."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml

from deployments import map as code_map

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()
WAY = PAGE.split("## The way of one window")[1].split("\n## ")[0]
STATION = re.compile(r"^\d+\. `([\w/]+\.py)` (`[\w.]+`(?:, `[\w.]+`)*): ", re.MULTILINE)
STATIONS = [(file, re.findall(r"`([\w.]+)`", names)) for file, names in STATION.findall(WAY)]
MAX_FILES_ON_THE_WAY = 25
MAX_FILES_IN_A_FOLDER = 16
MAX_LINES = 400
FILES = sorted(file for room in code_map.ROOMS for file in (ROOT / room).rglob("*.py"))


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


def defined(file: str) -> set[str]:
    """The functions of a file, and its methods as `Class.method`."""
    body = tree(file).body
    functions = {each.name for each in body if isinstance(each, ast.FunctionDef)}
    classes = [each for each in body if isinstance(each, ast.ClassDef)]
    methods = {(c.name, m.name) for c in classes for m in c.body if isinstance(m, ast.FunctionDef)}
    return functions | {".".join(each) for each in methods}


def used(file: str) -> set[str]:
    """The names that a file uses, and its texts: a program is started by its name."""
    nodes = list(ast.walk(tree(file)))
    return (
        {each.id for each in nodes if isinstance(each, ast.Name)}
        | {each.attr for each in nodes if isinstance(each, ast.Attribute)}
        | {str(each.value) for each in nodes if isinstance(each, ast.Constant)}
    )


@pytest.mark.parametrize("page", sorted(code_map.pages()))
def test_the_page_is_what_the_code_says(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    for part, lines in code_map.pages()[page].items():
        assert code_map.replaced(text, part, lines) == text, f"run `make docs`: {part}"


def test_every_line_of_the_way_is_a_station() -> None:
    numbers = [int(each) for each in re.findall(r"^(\d+)\. ", WAY, re.MULTILINE)]
    assert numbers == list(range(1, len(STATIONS) + 1))
    assert len(STATIONS) > 20


@pytest.mark.parametrize(("file", "names"), STATIONS, ids=[file for file, _ in STATIONS])
def test_every_function_on_the_way_is_in_its_file_and_called_on_the_way(
    file: str, names: list[str]
) -> None:
    assert set(names) - defined(file) == set()
    called = {name for station, _ in STATIONS for name in used(station)}
    entrypoints = [
        each["entrypoint"].rpartition(".")[2]
        for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    ]
    started = [file] if Path(file).name in called else []
    for name in names:
        assert name.rpartition(".")[2] in {*called, *entrypoints} or started, name


def test_the_way_ends_where_rows_and_receipt_are_written() -> None:
    assert STATIONS[0][1][0] == "sync_all"
    assert ("ferry/receipts/table.py", "write_receipts") in {
        (file, name) for file, names in STATIONS for name in names
    }


def test_the_way_is_short_enough_to_be_read() -> None:
    assert len(set(re.findall(r"[\w/]+\.py", WAY))) <= MAX_FILES_ON_THE_WAY


def test_no_folder_has_more_files_than_can_be_surveyed() -> None:
    sizes = {str(each): len(code_map.files(each)) for each in code_map.folders()}
    assert len(sizes) > 30
    assert {each: size for each, size in sizes.items() if size > MAX_FILES_IN_A_FOLDER} == {}


def test_no_file_is_longer_than_can_be_read() -> None:
    lines = {str(each.relative_to(ROOT)): len(each.read_text().splitlines()) for each in FILES}
    assert len(lines) > 300
    assert {each: count for each, count in lines.items() if count > MAX_LINES} == {}


def test_every_module_of_the_rules_is_held_by_the_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    rules = next(c for c in contracts["contracts"] if c["name"].startswith("the rules of a batch"))
    listed = {*rules["source_modules"], *rules["forbidden_modules"]}
    there = {each.stem for each in (ROOT / "ferry").iterdir() if not each.name.startswith("__")}
    assert listed == {f"ferry.{name}" for name in there}


def test_every_folder_of_the_code_says_what_it_is_for() -> None:
    silent = [str(each) for each in code_map.folders() if not code_map.purpose(each)]
    assert [each for each in silent if not each.startswith("tests")] == []


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(code_map.MapError, match="has not both markers"):
        code_map.replaced("<!-- rooms: begin -->\n", "rooms", [])


def test_an_import_within_a_function_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "late.py"
    file.write_text("def f():\n    from ferry.specs.tables import TableSpec\n    import ferry\n")
    assert {str(each) for each in code_map.imported_by(file)} == {"ferry/specs", "ferry"}
