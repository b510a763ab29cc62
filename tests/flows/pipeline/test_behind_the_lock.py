"""What is done while the target is locked: every reader waits, and who needs the catalog may, too.

Told by the double's log of statements, since only Redshift itself would make us wait: its catalog
of columns looks into views whose tables may be the very one that is locked.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import pytest

from flows.sync_table import sync_table

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True),
]

CATALOG = re.compile(
    r"svv_|pg_catalog|information_schema|pg_(class|views|attribute)", re.IGNORECASE
)


@pytest.fixture
def shop(journey: Any) -> Any:
    journey.sql("CREATE TABLE orders (id INT NOT NULL PRIMARY KEY, note VARCHAR(9))")
    journey.sql("INSERT INTO orders VALUES (?, ?)", [(n, "paid") for n in range(3)])
    journey.write_specs(orders={"mode": "full", "insert_rows": 0})
    sync_table(table="orders")
    return journey


def of_the_last_transaction_on(table: str, double: Any, since: int) -> tuple[list[Any], list[Any]]:
    """Its statements from the lock on; and those of other sessions up to its COMMIT."""
    statements = double.statements()[since:]
    lock = [s for s in statements if re.match(rf'LOCK TABLE .*"{table}"', s.sql)][-1]
    own = [s for s in statements if s.session == lock.session and s.time >= lock.time]
    end = next(s.time for s in own if s.sql.upper() == "COMMIT")
    others = [s for s in statements if s.session != lock.session and lock.time <= s.time <= end]
    return [s for s in own if s.time <= end], others


@pytest.mark.parametrize(
    "alter", ["", "ALTER TABLE orders MODIFY note INT"], ids=["copied", "retyped"]
)
def test_no_other_session_asks_the_catalog_while_a_full_copy_holds_its_lock(
    shop: Any, redshift_double: Any, alter: str
) -> None:
    if alter:
        shop.sql("UPDATE orders SET note = '7'")
        shop.sql(alter)
    since = len(redshift_double.statements())
    sync_table(table="orders")
    own, others = of_the_last_transaction_on("orders", redshift_double, since)
    assert [s.sql for s in own if CATALOG.search(s.sql)]  # it looks itself
    assert [s.sql for s in others if CATALOG.search(s.sql)] == []


def test_nor_while_a_type_grows(shop: Any, redshift_double: Any) -> None:
    shop.sql("CREATE TABLE days (id INT NOT NULL PRIMARY KEY, modified DATETIME, n INT)")
    shop.sql("INSERT INTO days VALUES (1, '2023-01-05 10:00:00', 7)")
    shop.write_specs(days={"mode": "window", "key": ["id"], "insert_rows": 0})
    sync_table(table="days", run_date=date(2023, 1, 5))
    shop.sql("ALTER TABLE days MODIFY n BIGINT")
    since = len(redshift_double.statements())
    sync_table(table="days", run_date=date(2023, 1, 5))
    statements = redshift_double.statements()[since:]
    (swap,) = [s for s in statements if re.match(r'ALTER TABLE .* DROP COLUMN "n"', s.sql)]
    own = [s for s in statements if s.session == swap.session and s.time <= swap.time]
    lock = [s for s in own if s.sql.startswith("LOCK TABLE")][-1]
    between = [s for s in statements if lock.time <= s.time <= swap.time]
    assert [s.sql for s in between if s.session != lock.session and CATALOG.search(s.sql)] == []
    assert [s.sql for s in between if s.session == lock.session and CATALOG.search(s.sql)]


def test_receipts_are_written_when_all_else_is_done(shop: Any, redshift_double: Any) -> None:
    """Redshift lets no other table's receipts in between: they would wait for a whole reload."""
    shop.warehouse.execute(f'DELETE FROM "{shop.schema}".orders')
    since = len(redshift_double.statements())
    sync_table(table="orders")
    own, _ = of_the_last_transaction_on("orders", redshift_double, since)
    changes = [s.sql.split()[2] for s in own if re.match("(INSERT INTO|DELETE FROM) ", s.sql)]
    assert changes[-1] == '"ferry"."receipts"'
    assert len([table for table in changes if table == '"ferry"."receipts"']) == 1
    assert [each.status for each in shop.receipts("orders")] == ["loaded", "void", "loaded"]
