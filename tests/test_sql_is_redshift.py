"""The SQL that Ferry sends to the Redshift double parses as Redshift's.

What all the other tests sent is looked at when the double stops (`conftest.py`).
"""

from __future__ import annotations

from typing import Any

import pytest

from deployments.local.redshift_double import RedshiftDouble
from deployments.local.servers import Postgres
from flows.sync_table import sync_table
from tests.harness.afterwards import distinct_statements, not_redshift


@pytest.mark.parametrize("road", ["mysql-s3-redshift"], indirect=True)
def test_every_statement_that_ferry_sent_parses_as_redshift_s(
    journey: Any, redshift_double: RedshiftDouble, postgres: Postgres
) -> None:
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, modified DATETIME)")
    journey.sql("INSERT INTO orders VALUES (?, ?)", [(1, "2023-01-05 10:00:00")])
    journey.write_specs(orders={"mode": "window", "key": ["id"], "insert_rows": 0})
    sync_table(table="orders", run_date="2023-01-05")

    sent = distinct_statements(redshift_double, postgres.database)
    first_words = {sql.split()[0] for sql in sent}
    assert {"BEGIN", "COMMIT", "COPY", "CREATE", "DROP", "INSERT", "LOCK"} <= first_words
    assert not_redshift(redshift_double, postgres.database) == {}


def test_a_statement_that_is_not_redshift_s_would_be_found(redshift_double: RedshiftDouble) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "tests.harness.afterwards.distinct_statements",
            lambda *_: ["SELECT 1", "SELECT FROM WHERE"],
        )
        assert list(not_redshift(redshift_double, "warehouse")) == ["SELECT FROM WHERE"]
