"""Text that becomes longer in the source, where Redshift does not make the column longer."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ferry.errors import SchemaError
from flows.sync_table import sync_table

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True),
]

SPEC = {"mode": "window", "key": ["id"], "cursor": "modified"}
FIRST, SECOND = {"run_date": "2023-01-01"}, {"run_date": "2023-01-02"}


@pytest.fixture
def grown(journey: Any) -> Any:
    """A table whose text has become longer in the source since its first day was carried."""
    journey.sql("CREATE TABLE g (id INT PRIMARY KEY, t VARCHAR(5), modified DATETIME NULL)")
    journey.sql("INSERT INTO g VALUES (1, 'short', '2023-01-01 10:00:00')")
    journey.write_specs(g=SPEC)
    sync_table(table="g", **FIRST)
    journey.sql("ALTER TABLE g MODIFY t VARCHAR(50)")
    journey.sql("INSERT INTO g VALUES (2, REPEAT('x', 50), '2023-01-02 10:00:00')")
    return journey


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ("t VARCHAR(20) ENCODE text255", "t (of the encoding text255)"),
        ("t VARCHAR(20) ENCODE BYTEDICT UNIQUE", "t (of the encoding bytedict, under the UNIQUE"),
        ("t VARCHAR(20) DEFAULT 'none'", "t (with a default value)"),
        ("t VARCHAR(20) DEFAULT 'none' SORTKEY", "t (with a default value)"),
        ("t VARCHAR(20) REFERENCES others (t)", "t (under the FOREIGN KEY g_t_fkey)"),
        ("t VARCHAR(20), UNIQUE (id, t)", "t (under the UNIQUE g_id_key)"),
        ("t VARCHAR(20), PRIMARY KEY (id, t)", "t (under the PRIMARY KEY g_pkey)"),
    ],
)
def test_it_is_refused_before_a_row_is_read_with_the_statements_that_help(
    grown: Any, declared: str, says: str
) -> None:
    target = f'"{grown.schema}"."g"'
    grown.warehouse.execute(f"DROP TABLE {target}")
    grown.warehouse.execute(f"CREATE TABLE {target} (id INT, {declared}, modified TIMESTAMP)")
    grown.warehouse.execute(f"INSERT INTO {target} VALUES (1, 'short', '2023-01-01 10:00:00')")
    with pytest.raises(SchemaError) as caught:
        sync_table(table="g", **SECOND)
    told = str(caught.value)
    assert " plan " in told
    assert says in told
    assert grown.target("g", "id, t") == [(1, "short")]

    script = re.findall(r"BEGIN; .* COMMIT;", told) or re.findall(r"ALTER TABLE [^;]*;", told)
    assert script
    for statement in script:
        grown.warehouse.execute(statement)
    sync_table(table="g", **SECOND)
    assert grown.target("g", "id, t") == [(1, "short"), (2, "x" * 50)]
