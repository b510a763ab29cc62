import re
from datetime import date, datetime
from pathlib import Path

import pytest

from ferry.errors import RequestError, SpecError
from ferry.summaries.check_specs import BoundsCheck
from ferry.summaries.files import order_summaries, parse_summary, summary_json_schema
from ferry.summaries.specs import SummarySpec

YAML = """\
schema: analytics
owner: data team
description: Orders by day.
publish: by_window
partition: {column: day, by: day}
grain: [day]
reads:
  raw_data.orders: {column: created_at, fixed: true}
columns:
  day: {type: date, description: The day.}
  orders: {type: bigint, description: How many.}
output_check:
  - sql: SELECT COUNT(1) FROM analytics.sales
    count: 1
  - bounds: orders
    min: 1
"""
SQL = """\
SELECT created_at::DATE AS day, COUNT(*) AS orders FROM raw_data.orders
WHERE created_at >= :window_start AND created_at < :window_end GROUP BY 1
"""


def parsed(yaml: str = YAML, sql: str = SQL, name: str = "sales", **more: str) -> SummarySpec:
    files = {"summary.yaml": yaml, "query.sql": sql, **more}
    return parse_summary(name, files, ("redshift", "postgres", "duckdb"))


def yaml_with(old: str, new: str) -> dict[str, str]:
    assert old in YAML
    return {"yaml": YAML.replace(old, new)}


def sql_with(old: str, new: str) -> dict[str, str]:
    assert old in SQL
    return {"sql": SQL.replace(old, new)}


def test_a_summary_is_two_files_and_no_python():
    spec = parsed()
    assert (str(spec.target), spec.warehouse, spec.retries) == ("analytics.sales", "warehouse", 1)
    assert (spec.measures, spec.time_column) == (("orders",), "day")
    assert [check.label for check in spec.output_check] == [
        "SELECT COUNT(1) FROM analytics.sales",
        "bounds orders",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (yaml_with("owner:", "ownr:"), "sales/summary.yaml:2: ownr: Extra inputs"),
        (yaml_with("owner: data team\n", ""), "sales/summary.yaml:1: owner: Field required"),
        (yaml_with("by: day", "by: week"), "sales/summary.yaml:5: partition.by: expected one"),
        (yaml_with("type: bigint", "type: int8"), "yaml:11: columns.orders.type: a type is one of"),
        (yaml_with("grain: [day]", "grain: [dy]"), "grain names 'dy', which is not among"),
        (yaml_with("partition: {column: day, by: day}\n", ""), "by_window needs a partition"),
        (yaml_with("    min: 1", "    minn: 1"), "yaml:16: output_check.1.bounds.minn: Extra"),
        (yaml_with("    min: 1\n", ""), "yaml:15: output_check.1.bounds: a bounds check needs"),
        (yaml_with("  - bounds: orders", "  - bound: orders"), "yaml:15: output_check.1: a check"),
        (yaml_with("bounds: orders", "bounds: order"), "yaml:15: output_check.1: no column order"),
        (yaml_with("COUNT(1) FROM", "COUNT(1 FROM"), "sales/summary.yaml:13: not readable as SQL"),
        (yaml_with("owner: data team", "owner: a\nowner: b"), "yaml:3: owner stands there twice"),
        (yaml_with("  raw_data.orders:", "  raw_data.order:"), "yaml:7: reads: not the tables"),
        (yaml_with("schema: analytics", "name: x"), "name: not a field: the folder tells it"),
        (yaml_with("output_check", "input_check"), "table: one of those that the summary reads"),
        (sql_with("AS orders", "AS n"), "yaml:9: columns: not the columns that sales/query.sql"),
        (sql_with("raw_data.orders", "orders"), "sales/query.sql:1: tables without their schema"),
        (sql_with(":window_end", ":window_ende"), "unknown parameters: window_ende"),
        (sql_with("AND created_at < :window_end ", ""), "needs :window_start and :window_end"),
        (sql_with("GROUP BY 1", "GROUP BY ("), "sales/query.sql:2: not readable as SQL"),
        (sql_with("SELECT c", "DELETE FROM a.b; SELECT c"), "expected one SELECT, which changes"),
        ({"query.mysql.sql": SQL}, "sales/query.mysql.sql is not a file of a summary"),
        ({"yaml": ""}, "sales/summary.yaml:1: expected fields"),
    ],
)
def test_a_misspelled_summary_is_refused_with_file_line_and_field(given, message: str):
    with pytest.raises(SpecError) as caught:
        parsed(**given)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "limits", "message"),
    [
        ("count: 1", "min: 5\n    max: 1", "no value is both at least 5 and at most 1"),
        ("count: 1", "count: 2\n    max: 1", "no value is both at least 2 and at most 1"),
        ("count: 1", "equals: 3\n    max: 2", "no value is both at least 3 and at most 2"),
        ("count: 1", "equals: 3\n    min: 4", "no value is both at least 4 and at most 3"),
        ("count: 1", "equals: .nan", "no value is at least, at most or just .nan"),
        ("min: 1", "min: 5\n    max: 1", "no value is both at least 5 and at most 1"),
        ("min: 1", "max: .nan", "no value is at least, at most or just .nan"),
        ("min: 1", "min: 2023-12-31\n    max: 2023-01-01", "at least 2023-12-31 and at most 2023"),
        ("min: 1", "min: 2023-12-31 18:00:00\n    max: 2023-12-31 17:00:00", "18:00:00 and at mos"),
        ("min: 1", "min: 1\n    max: 2023-12-31", "min and max are both dates, or both numbers"),
    ],
)
def test_limits_that_no_value_keeps_are_refused(old: str, limits: str, message: str):
    with pytest.raises(SpecError, match=re.escape(message)):
        parsed(**yaml_with(old, limits))


def test_limits_that_one_value_keeps_are_not():
    assert parsed(**yaml_with("count: 1", "count: 1\n    equals: 3\n    min: 3\n    max: 3"))
    assert parsed(**yaml_with("    min: 1", "    min: 1\n    max: .inf"))
    moments = "    min: 2023-12-31\n    max: 2023-12-31 18:00:00"
    (_, bounds) = parsed(**yaml_with("    min: 1", moments)).output_check
    assert isinstance(bounds, BoundsCheck)
    assert (bounds.min, bounds.max) == (date(2023, 12, 31), datetime(2023, 12, 31, 18))
    (_, bounds) = parsed(**yaml_with("    min: 1", '    max: "2024-01-01 00:00:00"')).output_check
    assert isinstance(bounds, BoundsCheck)
    assert bounds.max == datetime(2024, 1, 1)
    assert isinstance(bounds.max, datetime)  # else it were all of that day


@pytest.mark.parametrize("limits", ["min: yes", "max: on"])
@pytest.mark.parametrize("old", ["    min: 1", "count: 1"])
def test_yes_is_no_number(old: str, limits: str):
    with pytest.raises(SpecError, match="write a number"):
        parsed(**yaml_with(old, f"    {limits}" if old.startswith(" ") else limits))


def test_checks_that_would_be_called_the_same_are_numbered_so_that_one_alone_can_be_let_pass():
    text = f"SELECT COUNT(1) FROM raw_data.orders WHERE {' OR '.join(['id IS NULL'] * 5)}"
    begins = text[:80]
    built_in = "one row for each of the grain"
    checks = f"""\
input_check:
  - {{bounds: n, table: raw_data.orders, min: 0}}
  - {{bounds: n, table: raw_data.orders, max: 9, name: bounds n}}
  - {{sql: {text}, max: 0}}
output_check:
  - {{sql: {text} OR n > 9, max: 0}}
  - {{sql: {text} OR n > 99, max: 0}}
  - {{not_null: [orders], name: {built_in}}}
  - {{unique: [day, orders]}}
"""
    spec = parsed(yaml=YAML[: YAML.index("output_check")] + checks)
    assert [check.label for check in (*spec.input_check, *spec.output_check)] == [
        "bounds n (2)",
        "bounds n",
        begins,
        f"{begins} (2)",
        f"{begins} (3)",
        f"{built_in} (2)",
        "unique day, orders",
    ]


BY_DAY = f"WITH by_day AS ({SQL})\nSELECT day, orders FROM by_day"
TIED = "created_at >= :window_start AND created_at < :window_end"
TOP = "(SELECT created_at, RANK() OVER (ORDER BY n) AS r FROM raw_data.orders) AS o"


@pytest.mark.parametrize(
    "sql",
    [
        BY_DAY.replace("day, orders", "day, SUM(orders) OVER (ORDER BY day) AS orders"),
        BY_DAY.replace("day, orders", "day, LAG(n) IGNORE NULLS OVER (ORDER BY n) AS orders"),
        BY_DAY.replace("day, orders", "day, SUM(orders) OVER (PARTITION BY 1) AS orders"),
        BY_DAY.replace("day, orders", "day, MAX(n) OVER (PARTITION BY id ORDER BY day) AS orders"),
        BY_DAY + " QUALIFY ROW_NUMBER() OVER (ORDER BY orders DESC) <= 10",
        SQL.replace("COUNT(*)", "SUM(COUNT(*)) OVER ()"),
        f"WITH a AS (SELECT id, created_at FROM raw_data.orders WHERE {TIED}), "
        "b AS (SELECT created_at, ROW_NUMBER() OVER (ORDER BY id) AS n FROM a) "
        "SELECT created_at::DATE AS day, MAX(n) AS orders FROM b GROUP BY 1",
    ],
)
def test_a_function_over_all_partitions_that_are_built_is_refused(sql: str):
    with pytest.raises(SpecError, match=r"a function looks across partitions.* OVER \("):
        parsed(sql=sql)
    assert parsed(sql=sql, **yaml_with("publish: by_window", "publish: replace"))


@pytest.mark.parametrize(
    "sql",
    [
        BY_DAY.replace("day, orders", "day, SUM(orders) OVER (PARTITION BY day) AS orders"),
        BY_DAY.replace("day, orders", "day, MAX(n) OVER (PARTITION BY shop ORDER BY n) AS orders"),
        "SELECT created_at::DATE AS day, MAX(n) AS orders FROM (SELECT created_at, ROW_NUMBER() "
        f"OVER (PARTITION BY id ORDER BY n) AS n FROM raw_data.orders WHERE {TIED}) GROUP BY 1",
        # The same, whichever days are built: it ranks all orders.
        f"SELECT created_at::DATE AS day, MAX(r) AS orders FROM {TOP} WHERE {TIED} GROUP BY 1",
        # For each row, of its own day.
        BY_DAY.replace(
            "day, orders",
            "day, (SELECT SUM(n) OVER () FROM raw_data.orders AS o WHERE o.day = by_day.day "
            "AND o.day >= :window_start LIMIT 1) AS orders",
        ),
    ],
)
def test_a_function_that_may_stay_within_a_partition_is_not(sql: str):
    assert parsed(sql=sql).publish == "by_window"


def test_a_missing_file_is_named():
    with pytest.raises(SpecError, match=r"sales/query\.sql is missing"):
        parse_summary("sales", {"summary.yaml": YAML}, ())


def test_an_engine_can_have_its_own_query():
    spec = parsed(**{"query.duckdb.sql": SQL.replace("COUNT(*)", "COUNT(1)")})
    assert "COUNT(1)" in spec.query("duckdb").tree.sql()
    assert "COUNT(*)" in spec.query("redshift").tree.sql()
    assert "COUNT(*)" in spec.query("postgres").tree.sql()


def test_another_query_or_type_is_another_definition_and_another_word_is_not():
    assert parsed().definition != parsed(**sql_with("COUNT(*)", "COUNT(id)")).definition
    assert parsed().definition != parsed(**yaml_with("type: bigint", "type: integer")).definition
    assert parsed().definition == parsed(**yaml_with("How many.", "So many.")).definition
    assert parsed().definition == parsed(sql="-- by day\n" + SQL).definition
    assert parsed().definition == parsed(sql=SQL.replace(" AND", "\n  AND") + ";").definition


def test_each_word_of_the_query_is_part_of_the_definition():
    lenient, strict = (
        parsed(**sql_with("created_at::DATE", f"TO_DATE(created_at, 'YYYYMMDD', {each})"))
        for each in ("FALSE", "TRUE")
    )
    assert lenient.definition != strict.definition


def reading(name: str, *tables: str) -> SummarySpec:
    reads = "".join(f"  {table}:\n" for table in tables)
    columns = ", ".join(f"{table}.day" for table in tables[:1])
    yaml = f"""\
schema: s
owner: me
description: A test.
publish: replace
grain: [day]
reads:
{reads}columns:
  day: {{type: date, description: The day.}}
"""
    joins = " CROSS JOIN ".join(tables)
    return parse_summary(
        name, {"summary.yaml": yaml, "query.sql": f"SELECT {columns} FROM {joins}"}, ()
    )


def test_each_summary_comes_after_those_it_reads():
    specs = [reading("a", "s.b"), reading("b", "s.c", "raw.x"), reading("c", "raw.y")]
    summaries = order_summaries(specs)
    assert list(summaries) == ["c", "b", "a"]
    assert [s.name for s in summaries.reached_from([("warehouse", "raw.x")])] == ["b", "a"]
    assert summaries.reached_from([("another", "raw.x")]) == []


def test_a_circle_is_refused_and_named():
    specs = [reading("a", "s.b"), reading("b", "s.c"), reading("c", "s.a")]
    with pytest.raises(SpecError, match=r"circle: s\.(\w) reads s\.\w reads s\.\w reads s\.\1"):
        order_summaries(specs)
    with pytest.raises(SpecError, match="does not read itself"):
        reading("a", "s.a")


def test_two_summaries_of_one_table_are_refused():
    other = parsed(**{"yaml": YAML + "table: sales\n"}, name="other")
    with pytest.raises(SpecError, match=r"sales and other have one table, analytics\.sales"):
        order_summaries([parsed(), other])


def test_an_unknown_summary_is_refused_with_the_known_ones():
    with pytest.raises(RequestError, match=r"no summary 'salez'.*one of sales"):
        order_summaries([parsed()]).named("salez")


def test_the_json_schema_knows_every_field_and_forbids_others():
    schema = summary_json_schema()
    assert {"schema", "owner", "reads", "input_check", "columns"} <= set(schema["properties"])
    assert not {"name", "queries"} & set(schema["properties"])
    assert schema["additionalProperties"] is False


def test_the_page_on_summaries_names_every_field():
    page = (Path(__file__).parents[3] / "docs" / "summaries.md").read_text()
    fields = summary_json_schema()["properties"]
    assert [name for name in fields if f"`{name}`" not in page] == []
