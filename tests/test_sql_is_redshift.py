"""The SQL that Ferry sends to the Redshift double parses as Redshift's.

What all the other tests sent is looked at when the double stops (`harness/servers.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deployments.local.redshift_double import RedshiftDouble
from deployments.local.redshift_double.sql.grammar import violations
from deployments.local.servers import Postgres
from flows.sync_table import sync_table
from tests.harness.afterwards import distinct_statements, not_redshift
from tests.harness.shared import Noted


@pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)
def test_every_statement_that_ferry_sent_parses_as_redshift_s(
    journey: Any, redshift_double: RedshiftDouble, postgres: Postgres, parsed_sql: Noted
) -> None:
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    journey.sql("INSERT INTO orders VALUES (?, ?)", [(1, "2023-01-05 10:00:00")])
    journey.write_specs(orders={"mode": "window", "key": ["id"], "insert_rows": 0})
    sync_table(table="orders", run_date="2023-01-05")

    sent = distinct_statements(redshift_double, postgres.database)
    first_words = {sql.split()[0] for sql in sent}
    assert {"BEGIN", "COMMIT", "COPY", "CREATE", "DROP", "INSERT", "LOCK"} <= first_words
    assert not_redshift(redshift_double, postgres.database, parsed_sql) == {}


def test_a_statement_that_is_not_redshift_s_is_found_by_every_process_that_sent_it(
    redshift_double: RedshiftDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tests.harness.afterwards.distinct_statements",
        lambda *_: ["SELECT 1", "SELECT FROM WHERE"],
    )
    for _ in range(2):
        found = not_redshift(redshift_double, "warehouse", Noted(tmp_path / "parsed"))
        assert list(found) == ["SELECT FROM WHERE"]


def test_what_one_process_has_parsed_is_not_parsed_again_and_its_values_are_looked_at(
    redshift_double: RedshiftDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, parsed = ["SELECT 1"], []

    def parse(sql: str) -> list[str]:
        parsed.append(sql)
        return violations(sql)

    monkeypatch.setattr("tests.harness.afterwards.distinct_statements", lambda *_: sent)
    monkeypatch.setattr("tests.harness.afterwards.violations", parse)
    assert not_redshift(redshift_double, "warehouse", Noted(tmp_path / "parsed")) == {}
    sent[:] = ["SELECT 2", "SELECT a FROM b"]
    assert not_redshift(redshift_double, "warehouse", Noted(tmp_path / "parsed")) == {}
    assert sorted(parsed) == ["SELECT 1", "SELECT a FROM b"]
