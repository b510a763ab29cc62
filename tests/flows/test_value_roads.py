"""By which road rows go, and what is refused on each: named by column and row, never a value."""

from __future__ import annotations

from typing import Any

import pytest

from flows.sync_table import sync_table

ON_SERVERS = pytest.mark.parametrize(
    "road", ["mysql-folder-postgres", "mysql-s3-redshift"], indirect=True
)
SECRET = "s3cret-row-value"


def test_rows_that_are_few_but_long_go_by_copy_however_well_they_compress(journey: Any):
    columns = ", ".join(f"c{n} TEXT" for n in range(8))
    journey.sql(f"CREATE TABLE pages (id INT NOT NULL PRIMARY KEY, {columns})")
    marks = ", ".join("?" * 9)
    rows = [(n, *(["x" * 60_000] * 8)) for n in range(1, 46)]
    journey.sql(f"INSERT INTO pages VALUES ({marks})", rows)
    journey.write_specs(pages={"mode": "full", "key": ["id"]})

    receipt = sync_table(table="pages")

    assert receipt.manifest_uri
    assert journey.target("pages", "id, length(c0), length(c7)") == [
        (n, 60_000, 60_000) for n in range(1, 46)
    ]
    journey.sql("DELETE FROM pages WHERE id > 1")
    assert sync_table(table="pages").manifest_uri is None  # one of them goes by INSERT
    assert journey.target("pages", "id, length(c0)") == [(1, 60_000)]
