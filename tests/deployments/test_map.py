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
WAYS = dict(re.findall(r"^## The way of (.*)\n((?:(?!## ).*\n)*)", PAGE, re.MULTILINE))
STATION = re.compile(r"^\d+\. `[\w/]+\.py` (?:`[\w.]+`, )*`[\w.]+`: ", re.MULTILINE)
PLACE = re.compile(r"`([\w/]+\.py)`\s+(`[\w.]+`(?:,\s+`[\w.]+`)*)")
FILE = re.compile(r"[\w/]+\.py")
PLACES = [
    (way, file, re.findall(r"`([\w.]+)`", names))
    for way, text in WAYS.items()
    for file, names in PLACE.findall(text)
]
ENTRYPOINTS = {
    each["entrypoint"].rpartition(".")[2]
    for each in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
}
MAX_FILES_ON_A_WAY = 25
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


@cache
def used(file: str) -> set[str]:
    """The names that a file uses."""
    nodes = list(ast.walk(tree(file)))
    return {each.id for each in nodes if isinstance(each, ast.Name)} | {
        each.attr for each in nodes if isinstance(each, ast.Attribute)
    }


@cache
def texts(file: str) -> set[str]:
    """The texts in a file: a program is started by its name."""
    return {str(each.value) for each in ast.walk(tree(file)) if isinstance(each, ast.Constant)}


def test_the_pages_are_what_the_code_says() -> None:
    for page, parts in code_map.pages().items():
        text = (ROOT / "docs" / page).read_text()
        for part, lines in parts.items():
            assert code_map.replaced(text, part, lines) == text, f"run `make docs`: {page}, {part}"


def test_the_ways_are_all_there() -> None:
    assert list(WAYS) == ["one window", "a backfill", "a summary", "a comparison", "a message"]


@pytest.mark.parametrize("way", WAYS)
def test_every_line_of_a_way_is_a_station(way: str) -> None:
    numbers = [int(each) for each in re.findall(r"^(\d+)\. ", WAYS[way], re.MULTILINE)]
    assert numbers == list(range(1, len(STATION.findall(WAYS[way])) + 1))
    assert len(numbers) > 3


@pytest.mark.parametrize(
    ("way", "file", "names"), PLACES, ids=[f"{way}: {file}" for way, file, _ in PLACES]
)
def test_every_function_on_a_way_is_in_its_file_and_called_on_the_way(
    way: str, file: str, names: list[str]
) -> None:
    assert set(names) - defined(file) == set()
    files = set(FILE.findall(WAYS[way]))
    called = {name for each in files for name in used(each)}
    started = any(Path(file).name in texts(each) for each in files)
    for name in names:
        assert name.rpartition(".")[2] in ENTRYPOINTS | called or started, name


def test_the_way_of_a_window_ends_where_rows_and_receipt_are_written() -> None:
    places = [(file, name) for way, file, names in PLACES for name in names if way == "one window"]
    assert places[0] == ("flows/sync_all.py", "sync_all")
    assert ("ferry/receipts/table.py", "write_receipts") in places


def test_the_way_of_a_backfill_leads_to_the_message_of_its_run() -> None:
    places = [(file, name) for way, file, names in PLACES for name in names if way == "a backfill"]
    assert places[0] == ("flows/backfill_tables.py", "backfill")
    assert places[-1] == ("flows/pipeline/notify.py", "notify")


@pytest.mark.parametrize("way", WAYS)
def test_a_way_is_short_enough_to_be_read(way: str) -> None:
    assert len(set(FILE.findall(WAYS[way]))) <= MAX_FILES_ON_A_WAY


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


def test_every_folder_says_what_it_is_for() -> None:
    assert [str(each) for each in code_map.folders() if not code_map.purpose(each)] == []


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(code_map.MapError, match="has not both markers"):
        code_map.replaced("<!-- rooms: begin -->\n", "rooms", [])


def test_an_import_within_a_function_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "late.py"
    file.write_text("def f():\n    from ferry.specs.tables import TableSpec\n    import ferry\n")
    assert {str(each) for each in code_map.imported_by(file)} == {"ferry/specs", "ferry"}
