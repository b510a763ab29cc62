"""What a target has of its own: columns, not emptied; side effects and untrue keys, refused."""

from __future__ import annotations

import re
from contextlib import nullcontext
from datetime import date
from typing import Any

import pytest

from ferry.errors import SchemaError
from flows.sync_table import sync_table
from tests.harness.reads import read_now_land_later

pytestmark = pytest.mark.usefixtures("plain_runs")

SPEC = {"mode": "window", "key": ["id"], "insert_rows": 0}
DAY = {"run_date": date(2023, 1, 1)}
KEYLESS = {"mode": "watermark", "cursor": "modified"}


@pytest.fixture
def shop(journey: Any) -> Any:
    journey.sql(
        "CREATE TABLE orders (id BIGINT NOT NULL PRIMARY KEY, modified DATETIME, note VARCHAR(9))"
    )
    rows = [(1, "2023-01-01 10:00:00", "a"), (2, "2023-01-01 11:00:00", "b")]
    journey.sql("INSERT INTO orders VALUES (?, ?, ?)", rows)
    journey.write_specs(orders=SPEC)
    sync_table(table="orders", **DAY)
    journey.sql("ALTER TABLE orders DROP COLUMN note")
    journey.write_specs(orders={**SPEC, "target_only": ["Note"]})
    return journey


def notes(shop: Any) -> list[Any]:
    return [note for (note,) in shop.target("orders", "note")]


def test_a_full_copy_does_not_empty_the_only_copy_of_a_column(shop: Any) -> None:
    told = r"plan .*orders full.* would empty columns of `target_only`: note.*Carry windows"
    with pytest.raises(SchemaError, match=told) as caught:
        sync_table(table="orders", mode="full")
    assert notes(shop) == ["a", "b"]

    assert sync_table(table="orders", **DAY).rows_unchanged == 2  # a window leaves them
    assert notes(shop) == ["a", "b"]

    # What the message says can be done as it says it.
    for statement in str(caught.value).split(": ")[-2:]:
        shop.warehouse.execute(statement[: statement.index(";")])
    kept = shop.warehouse.fetch(f'SELECT id, note FROM "{shop.schema}"."orders_kept" ORDER BY id')
    assert kept == [(1, "a"), (2, "b")]
    shop.write_specs(orders=SPEC)
    assert sync_table(table="orders", mode="full").rows_inserted == 2


@pytest.mark.parametrize("left_out", [{}, {"exclude": ["note"]}], ids=["lost", "excluded"])
@pytest.mark.parametrize("key", [["id"], []], ids=["key", "no key"])
def test_of_a_table_in_mode_full_the_values_are_kept_beside_and_no_ring_is_advised(
    shop: Any, left_out: dict[str, Any], key: list[str]
) -> None:
    full = {"mode": "full", "key": key, **left_out}
    if left_out:
        shop.sql("ALTER TABLE orders ADD COLUMN note VARCHAR(9)")
    shop.write_specs(orders=full)
    with pytest.raises(SchemaError) as caught:
        sync_table(table="orders")
    told = str(caught.value)
    assert "rows that change will have NULL" not in told
    if not left_out:
        shop.write_specs(orders={**full, "target_only": ["note"]})
        with pytest.raises(SchemaError, match="would empty columns") as emptied:
            sync_table(table="orders")
        assert "Carry windows" not in str(emptied.value)
        shop.write_specs(orders=full)

    for begins in ("CREATE TABLE", "ALTER TABLE"):  # "copy them first"
        (statement,) = re.findall(rf"{begins} [^;]*;", told)
        shop.warehouse.execute(statement)
    kept = shop.warehouse.fetch(f'SELECT id, note FROM "{shop.schema}"."orders_kept" ORDER BY id')
    assert kept == [(1, "a"), (2, "b")]
    assert sync_table(table="orders").rows_inserted == 2


def test_a_column_that_the_warehouse_fills_is_no_only_copy(shop: Any) -> None:
    target = f'"{shop.schema}"."orders"'
    shop.warehouse.execute(f"ALTER TABLE {target} DROP COLUMN note")
    shop.warehouse.execute(f"ALTER TABLE {target} ADD COLUMN note VARCHAR(9) DEFAULT 'filled'")
    for _ in range(2):
        assert sync_table(table="orders", mode="full").rows_inserted == 2
        assert notes(shop) == ["filled"] * 2


def test_a_column_without_a_value_can_be_emptied(shop: Any) -> None:
    shop.warehouse.execute(f'UPDATE "{shop.schema}"."orders" SET note = NULL')
    assert sync_table(table="orders", mode="full").rows_inserted == 2
    assert notes(shop) == [None, None]


def test_a_value_that_came_while_it_was_read_is_not_lost(shop: Any) -> None:
    fill = f'UPDATE "{shop.schema}"."orders" SET note = '
    shop.warehouse.execute(fill + "NULL")
    with pytest.raises(SchemaError, match=r"upsert .*`target_only`: note"):
        read_now_land_later("orders", "full", {}, lambda: shop.warehouse.execute(fill + "'c'"))
    assert notes(shop) == ["c", "c"]
    assert shop.leftovers() == set()


def test_a_watermark_without_a_key_that_reads_all_does_not_empty_it_either(shop: Any) -> None:
    shop.warehouse.execute("DELETE FROM ferry.receipts WHERE table_name LIKE '%.orders'")
    shop.write_specs(orders={**KEYLESS, "target_only": ["note"]})
    with pytest.raises(SchemaError, match=r"`target_only`: note.*Copy them") as caught:
        sync_table(table="orders")
    assert notes(shop) == ["a", "b"]

    # Without a key, each value is kept with the row that it is of.
    for statement in str(caught.value).split(": ")[-2:]:
        shop.warehouse.execute(statement[: statement.index(";")])
    kept = shop.warehouse.fetch(f'SELECT id, note FROM "{shop.schema}"."orders_kept" ORDER BY id')
    assert kept == [(1, "a"), (2, "b")]


@pytest.mark.parametrize("mode", ["window", "full"])
def test_a_column_that_the_source_gains_does_not_take_the_only_copy(shop: Any, mode: str) -> None:
    shop.sql("ALTER TABLE orders ADD COLUMN note VARCHAR(9)")
    given = {"mode": "full"} if mode == "full" else DAY
    with pytest.raises(SchemaError, match=r"plan .*columns of `target_only`: note.*`exclude`"):
        sync_table(table="orders", **given)
    assert notes(shop) == ["a", "b"]
    shop.write_specs(orders={**SPEC, "target_only": ["note"], "exclude": ["note"]})
    sync_table(table="orders", **DAY)
    assert notes(shop) == ["a", "b"]


POSTGRES = pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True)

PARTED = (
    "ALTER TABLE {t} RENAME TO part; "
    "CREATE TABLE {t} (LIKE {s}.part INCLUDING ALL) PARTITION BY RANGE (id); "
    "ALTER TABLE {t} ATTACH PARTITION {s}.part DEFAULT; "
)
KEEP = (
    "CREATE FUNCTION {s}.keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
    "CREATE TRIGGER keep BEFORE "
)
SIDE_EFFECTS = {
    "the foreign key lines_fk of": (
        "CREATE TABLE {s}.lines (id BIGINT, CONSTRAINT lines_fk FOREIGN KEY (id) "
        "REFERENCES {t} (id) ON DELETE CASCADE); INSERT INTO {s}.lines VALUES (1)",
        "ALTER TABLE {s}.lines DROP CONSTRAINT lines_fk, ADD FOREIGN KEY (id) "
        "REFERENCES {t} (id) DEFERRABLE INITIALLY DEFERRED",
    ),
    "the rule keep ": (
        "CREATE RULE keep AS ON DELETE TO {t} DO INSTEAD NOTHING",
        "DROP RULE keep ON {t}",
    ),
    "the trigger keep ": (
        KEEP + "INSERT OR DELETE ON {t} FOR EACH ROW EXECUTE FUNCTION {s}.keep()",
        "DROP TRIGGER keep ON {t}",
    ),
    r"the trigger keep of \S+orders before an INSERT": (
        KEEP + "INSERT ON {t} FOR EACH ROW EXECUTE FUNCTION {s}.keep()",
        "DROP TRIGGER keep ON {t}",
    ),
    "the foreign key part_lines_fk of": (
        PARTED + "CREATE TABLE {s}.lines (id BIGINT, CONSTRAINT part_lines_fk FOREIGN KEY (id) "
        "REFERENCES {s}.part (id) ON DELETE CASCADE); INSERT INTO {s}.lines VALUES (1)",
        "ALTER TABLE {s}.lines DROP CONSTRAINT part_lines_fk",
    ),
    r"the trigger keep of \S+part before a DELETE": (
        PARTED + KEEP + "DELETE ON {s}.part FOR EACH ROW EXECUTE FUNCTION {s}.keep()",
        "DROP TRIGGER keep ON {s}.part",
    ),
}


@POSTGRES
@pytest.mark.parametrize("told", SIDE_EFFECTS)
def test_a_target_whose_rows_cannot_be_replaced_alone_is_refused(shop: Any, told: str) -> None:
    names = {"s": f'"{shop.schema}"', "t": f'"{shop.schema}"."orders"'}
    make, mend = (text.format(**names) for text in SIDE_EFFECTS[told])
    shop.warehouse.execute(f"ALTER TABLE {names['t']} ADD PRIMARY KEY (id)")
    for statement in re.split(r"(?<!NULL); ", make):
        shop.warehouse.execute(statement)
    shop.sql("UPDATE orders SET modified = '2023-01-01 12:00:00' WHERE id = 1")
    with pytest.raises(SchemaError, match=rf"plan .*cannot be replaced.*{told}"):
        sync_table(table="orders", **DAY)
    assert notes(shop) == ["a", "b"]

    shop.warehouse.execute(mend)
    assert sync_table(table="orders", **DAY).rows_updated == 1
    if "lines" in told:
        assert shop.warehouse.fetch(f"SELECT id FROM {names['s']}.lines") == [(1,)]


@POSTGRES
@pytest.mark.parametrize("told", SIDE_EFFECTS)
def test_what_appears_on_the_target_after_the_plan_is_refused_behind_its_lock(
    shop: Any, told: str
) -> None:
    names = {"s": f'"{shop.schema}"', "t": f'"{shop.schema}"."orders"'}
    shop.warehouse.execute(f"ALTER TABLE {names['t']} ADD PRIMARY KEY (id)")
    shop.sql("UPDATE orders SET modified = '2023-01-01 12:00:00' WHERE id = 1")

    def make() -> None:
        for statement in re.split(r"(?<!NULL); ", SIDE_EFFECTS[told][0].format(**names)):
            shop.warehouse.execute(statement)

    with pytest.raises(SchemaError, match=rf"upsert .*cannot be replaced.*{told}"):
        read_now_land_later("orders", "window", DAY, make)
    assert notes(shop) == ["a", "b"]
    assert shop.leftovers() == set()
    if "lines" in told:
        assert shop.warehouse.fetch(f"SELECT id FROM {names['s']}.lines") == [(1,)]


REDSHIFT = pytest.mark.parametrize("route", ["mysql-s3-redshift"], indirect=True)


@REDSHIFT
@pytest.mark.parametrize("key", [["id"], ["id", "lang"], ["lang"]], ids=" ".join)
def test_a_declared_primary_key_that_the_source_has_no_more_is_refused(
    journey: Any, key: list[str]
) -> None:
    journey.sql("CREATE TABLE t (id INT PRIMARY KEY, lang INT NOT NULL, modified DATETIME)")
    journey.sql("INSERT INTO t VALUES (1, 1, '2023-01-01 10:00:00')")
    journey.write_specs(t=SPEC)
    sync_table(table="t", **DAY)
    journey.sql("ALTER TABLE t DROP PRIMARY KEY")
    if key != ["id"]:
        journey.sql(f"ALTER TABLE t ADD PRIMARY KEY ({', '.join(key)})")
        journey.write_specs(t={**SPEC, "key": key})
        journey.sql("INSERT INTO t VALUES (1, 2, '2023-01-01 10:00:00')")
    kept = rf"PRIMARY KEY \({', '.join(key)}\), or none" if key != ["id"] else "no primary key"
    told = rf"plan .*declares a primary key .*expected {kept}; found PRIMARY KEY \(id\)"
    with pytest.raises(SchemaError, match=told) as caught:
        sync_table(table="t", **DAY)

    statement = str(caught.value).split("Run: ")[1]
    journey.warehouse.execute(statement[: statement.index(";")])
    sync_table(table="t", **DAY)
    assert journey.target("t", "lang") == ([(1,), (2,)] if key != ["id"] else [(1,)])


@REDSHIFT
@pytest.mark.parametrize(
    ("spec", "declared", "refused"),
    [
        ({"key": ["id"]}, "id, code", False),
        ({"key": ["id"]}, "code", True),
        ({"key": ["code"]}, "id", True),
        ({"key": ["id", "code"]}, "id", True),
        ({"mode": "full", "key": []}, "id", False),
        ({"mode": "full", "key": []}, "code", True),
        ({"mode": "full", "key": ["code"]}, "id", False),
        ({"mode": "watermark", "cursor": "modified", "key": []}, "id", True),
    ],
    ids=str,
)
def test_a_primary_key_that_somebody_has_declared_is_let_be_if_it_is_true(
    journey: Any, spec: dict[str, Any], declared: str, refused: bool
) -> None:
    journey.sql("CREATE TABLE t (id CHAR(9) PRIMARY KEY, code INT NOT NULL, modified DATETIME)")
    journey.sql("INSERT INTO t VALUES ('a', 1, '2023-01-01 10:00:00')")
    journey.write_specs(t=SPEC)
    sync_table(table="t", **DAY)  # text, of which none is declared
    target = f'"{journey.schema}"."t"'
    journey.warehouse.execute(f"ALTER TABLE {target} ADD PRIMARY KEY ({declared})")
    journey.write_specs(t={**SPEC, **spec})
    given = DAY if spec.get("mode") is None else {}
    with pytest.raises(SchemaError, match="declares a primary key") if refused else nullcontext():
        sync_table(table="t", **given)
