"""Columns that PostgreSQL does not alter for what is bound to them: told before a row is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from ferry.errors import SchemaError
from ferry.schema import TableName
from flows.sync_table import sync_table

pytestmark = [
    pytest.mark.usefixtures("plain_runs"),
    pytest.mark.parametrize("route", ["mysql-folder-postgres"], indirect=True),
]

SPEC = {"mode": "window", "key": ["id"], "retries": 0, "target_only": ["twice"]}
DAY = {"run_date": date(2023, 1, 1)}
BIG = 1_099_511_627_776
FUNCTION = (
    "CREATE FUNCTION {s}.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER bound AFTER ",
)
PARTED = (
    "ALTER TABLE {t} RENAME TO part",
    "CREATE TABLE {t} (LIKE {s}.part) PARTITION BY RANGE (%s)",
    "ALTER TABLE {t} ATTACH PARTITION {s}.part DEFAULT",
)
HOLDS = {
    "the trigger bound$": (
        FUNCTION[0],
        FUNCTION[1] + "UPDATE OF n ON {t} FOR EACH ROW EXECUTE FUNCTION {s}.f()",
    ),
    "the trigger bound": (
        FUNCTION[0],
        FUNCTION[1] + "INSERT ON {t} FOR EACH ROW WHEN (NEW.n > 5) EXECUTE FUNCTION {s}.f()",
    ),
    "the generated column twice": (
        "ALTER TABLE {t} ADD COLUMN twice int GENERATED ALWAYS AS (n * 2) STORED",
    ),
    "the policy bound": ("CREATE POLICY bound ON {t} USING (n > 5)",),
    r"the publication \S+": ("CREATE PUBLICATION {s} FOR TABLE {t} WHERE (n > 5)",),
    r"the function \S+\.many\(\)": (
        "CREATE FUNCTION {s}.many() RETURNS bigint LANGUAGE sql "
        "BEGIN ATOMIC SELECT sum(n) FROM {t}; END",
    ),
    r"the table \S+above, which hands it down": (
        "CREATE TABLE {s}.above (n int)",
        "ALTER TABLE {t} INHERIT {s}.above",
    ),
    "the partition key": (PARTED[0], PARTED[1] % "n", PARTED[2]),
    "the partition key$": (PARTED[0], PARTED[1] % "(n + 1)", PARTED[2]),
}


@pytest.fixture
def grown(journey: Any) -> Iterator[Any]:
    """A table with a row carried, and one more whose `n` has become a BIGINT."""
    journey.sql("CREATE TABLE g (id BIGINT NOT NULL PRIMARY KEY, n INT, modified DATETIME)")
    journey.sql("INSERT INTO g VALUES (1, 7, '2023-01-01 10:00:00')")
    journey.write_specs(g=SPEC)
    sync_table(table="g", **DAY)
    journey.sql("ALTER TABLE g MODIFY n BIGINT")
    journey.sql(f"INSERT INTO g VALUES (2, {BIG}, '2023-01-01 11:00:00')")
    yield journey
    journey.warehouse.execute(f'DROP PUBLICATION IF EXISTS "{journey.schema}"')


def hold(journey: Any, told: str) -> None:
    for statement in HOLDS[told]:
        journey.warehouse.execute(
            statement.format(s=f'"{journey.schema}"', t=f'"{journey.schema}"."g"')
        )


def refused(journey: Any, monkeypatch: pytest.MonkeyPatch, **run: Any) -> str:
    """What the refusal says; not a row was read."""
    with monkeypatch.context() as patch, pytest.raises(SchemaError) as caught:
        patch.setattr(type(journey.source), "read", lambda *_: pytest.fail("a row was read"))
        sync_table(table="g", **run)
    assert journey.target("g", "id, n") == [(1, 7)]
    return str(caught.value)


@pytest.mark.parametrize("told", HOLDS)
def test_a_column_that_something_holds_is_refused_with_the_statements_that_free_it(
    grown: Any, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    hold(grown, told)
    held = grown.warehouse.held_columns(TableName(grown.schema, "g")).columns
    assert held.keys() == {"n"}
    assert re.fullmatch(told.rstrip("$"), held["n"].replace('"', ""))

    said = refused(grown, monkeypatch, **DAY)
    scripts = re.findall(r"BEGIN; .* COMMIT;|Run: (.*?;) Run the table", said)
    afterwards = said.split("pg_dump --schema-only")[1]
    assert ("Then make again" if scripts[0] else "to keep these, put") in afterwards
    (free,) = scripts if scripts[0] else re.findall(r"BEGIN; .* COMMIT;", said)
    grown.warehouse.execute(free)
    sync_table(table="g", **DAY)
    assert grown.target("g", "id, n") == [(1, 7), (2, BIG)]


@pytest.mark.parametrize("told", ["the trigger bound", "the partition key"])
def test_one_of_a_type_that_a_person_has_to_decide_on_is_freed_in_the_script(
    grown: Any, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    hold(grown, told)
    grown.sql("ALTER TABLE g MODIFY n VARCHAR(20)")
    said = refused(grown, monkeypatch, **DAY)
    assert "mode=full" not in said  # which is refused for the same hold
    assert ("That copies no partitions" in said) is (told == "the partition key")
    assert said.index("pg_dump --schema-only") < said.index("BEGIN; ")
    (script,) = re.findall(r"BEGIN; .* COMMIT;", said)
    grown.warehouse.execute(script)
    sync_table(table="g", **DAY)
    assert grown.target("g", "id, n") == [(1, "7"), (2, str(BIG))]


def test_a_full_copy_is_refused_as_well(grown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(grown, "the partition key")
    view = f'VIEW "{grown.schema}"."report" AS SELECT count(*) AS rows FROM "{grown.schema}"."g"'
    grown.warehouse.execute(f"CREATE {view}")
    said = refused(grown, monkeypatch, mode="full")
    assert "Then make the views again" in said and "grant again" in said
    # A view would stay on the table that is put aside.
    (drop,) = re.findall(r"DROP VIEW [^;]*;", said)
    (aside,) = re.findall(r"ALTER TABLE \S+ RENAME TO [^;]*;", said)
    assert said.index(drop) < said.index(aside)
    for statement in (drop, aside):
        grown.warehouse.execute(statement)
    sync_table(table="g", mode="full")
    assert grown.target("g", "id, n") == [(1, 7), (2, BIG)]


def test_a_copy_of_a_table_under_views_drops_them_first(
    grown: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(grown, "the partition key")
    names = {"s": f'"{grown.schema}"'}
    for view in ("below AS SELECT id FROM {s}.g", "above AS SELECT count(*) FROM {s}.below"):
        grown.warehouse.execute(("CREATE VIEW {s}." + view).format(**names))
    said = refused(grown, monkeypatch, **DAY)
    for statement in re.findall(r"DROP VIEW [^;]*;|BEGIN; .* COMMIT;", said):
        grown.warehouse.execute(statement)
    sync_table(table="g", **DAY)
    assert grown.target("g", "id, n") == [(1, 7), (2, BIG)]


def test_a_column_that_nothing_holds_is_altered_beside_one_that_is_held(grown: Any) -> None:
    grown.warehouse.execute(f'ALTER TABLE "{grown.schema}"."g" ADD COLUMN twice int')
    hold(grown, "the policy bound")
    grown.warehouse.execute(f'DROP POLICY bound ON "{grown.schema}"."g"')
    grown.warehouse.execute(f'CREATE POLICY bound ON "{grown.schema}"."g" USING (twice > 5)')
    sync_table(table="g", **DAY)
    assert grown.target("g", "id, n") == [(1, 7), (2, BIG)]
