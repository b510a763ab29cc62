"""Every shipped summary, on every warehouse: small input files beside this one, and the result.

`<summary>/<schema>.<table>.csv` are its inputs, the types stand in the first line; `expected.csv`
is what has to come out.
"""

from __future__ import annotations

import csv
import re
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from blocks.warehouse import Warehouse
from blocks.warehouses import DIALECTS, WAREHOUSES
from ferry import statements as sql
from ferry.capabilities import Capabilities
from ferry.schema import Column, TableName
from ferry.summaries.build import Build
from ferry.summaries.files import parse_summary
from ferry.summaries.partitions import EVERYTHING, window_values
from ferry.summaries.query import bound, parse_query
from ferry.summaries.specs import SummarySpec, data_type
from tasks.plan_summary import make_own_tables
from tasks.summarize import build_aside, check

SHIPPED = Path(__file__).parents[2] / "deployments" / "summaries"
NAMES = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())
ENGINES = [each.get_block_type_slug().removesuffix("-warehouse") for each in WAREHOUSES]


@pytest.fixture(params=ENGINES)
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    return request.getfixturevalue(f"{request.param}_warehouse")


class Place:
    """A schema of the test's own, in which the tables that a summary reads are made."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.schema = f"t_{uuid.uuid4().hex[:10]}"
        warehouse.execute(sql.create_schema(self.schema))

    def summary(self, name: str) -> SummarySpec:
        """The shipped summary, with every table in this schema."""
        files = {
            file.name: re.sub(r"\b(raw_data|analytics)\b", self.schema, file.read_text())
            for file in (SHIPPED / name).iterdir()
        }
        return parse_summary(name, files, DIALECTS)

    def make(self, table: str, columns: list[Column], rows: list[list[Any]]) -> None:
        name = TableName(self.schema, table)
        self.warehouse.execute(sql.create_table(name, columns, self.warehouse.native_type))
        for first in range(0, len(rows), 1000):
            self.warehouse.execute(sql.insert_rows(name, columns, rows[first : first + 1000]))

    def built(self, spec: SummarySpec) -> list[tuple[Any, ...]]:
        """The rows that the summary's tasks build and check."""
        make_own_tables(self.warehouse)
        build = Build(spec, (EVERYTHING,), (), 0, "a-flow-run")
        check.fn(build, "input_check", None, self.warehouse)
        built = build_aside.fn(build, self.warehouse)
        check.fn(build, "output_check", built, self.warehouse)
        names = ", ".join(spec.columns)
        rows = self.warehouse.fetch(f'SELECT {names} FROM ferry."{built.table.name}" ORDER BY 1')
        self.warehouse.execute(sql.drop_table(built.table))
        return rows


@pytest.fixture
def place(warehouse: Warehouse) -> Iterator[Place]:
    place = Place(warehouse)
    with disable_run_logger():
        yield place
    warehouse.execute(f'DROP SCHEMA "{place.schema}" CASCADE')


def read_csv(file: Path) -> tuple[list[str], list[list[str | None]]]:
    with file.open(newline="") as lines:
        head, *rows = csv.reader(lines)
    return head, [[value or None for value in row] for row in rows]


def column(head: str) -> Column:
    name, _, type_name = head.partition(":")
    return Column(name, data_type(type_name))


def test_every_shipped_summary_has_its_input_and_its_result() -> None:
    assert {"mau_summary", "nps_summary", "nps_monthly_summary"} <= set(NAMES)
    for name in NAMES:
        assert (Path(__file__).parent / name / "expected.csv").is_file(), name


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_summary_yields_what_is_expected(place: Place, name: str) -> None:
    files = Path(__file__).parent / name
    for file in files.glob("*.*.csv"):
        head, rows = read_csv(file)
        place.make(file.name.split(".")[1], [column(each) for each in head], rows)
    head, expected = read_csv(files / "expected.csv")

    spec = place.summary(name)

    assert list(spec.columns) == head
    found = [[str(value) for value in row] for row in place.built(spec)]
    assert found == expected


def test_an_nps_on_the_edge_rounds_like_a_decimal(place: Place) -> None:
    """43 of 4,000 are 1.075 %, which a floating-point number is a little less than."""
    columns = [column("id:bigint"), column("created_at:timestamp"), column("score:smallint")]
    for_day = [("2023-01-05", 9), ("2023-01-06", 0)]
    rows = [
        [n, f"{day} 12:00:00", score if n < 43 else 7]
        for day, score in for_day
        for n in range(4000)
    ]
    place.make("nps", columns, rows)

    rows = place.built(place.summary("nps_summary"))

    assert [row[1] for row in rows] == [Decimal("1.08"), Decimal("-1.08")]


def test_a_window_s_bounds_are_bound_and_text_is_left_alone(warehouse: Warehouse) -> None:
    text = "SELECT '50 %s ? :window_start' AS a, 7 % 4 AS b, :window_end AS c"
    query = parse_query(text, "query.sql")
    capabilities: Capabilities = warehouse.capabilities
    statement = bound(query.text(capabilities), window_values(EVERYTHING))

    assert "9999" not in statement.sql
    assert warehouse.fetch(statement)[0][:2] == ("50 %s ? :window_start", 3)
