"""What sqlglot makes something else of is refused; the rest of Redshift's SQL yields the same.

Redshift's values are those of its documentation.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from blocks.warehouse import Warehouse
from blocks.warehouses import WAREHOUSES
from ferry.errors import SpecError
from ferry.summaries.query import WRITTEN_IN, parse_query
from ferry.summaries.translated import DIFFERENCES

ENGINES = [
    each.get_block_type_slug().removesuffix("-warehouse")
    for each in WAREHOUSES
    if each.capabilities.dialect != WRITTEN_IN
]
TWO_ROWS = "(SELECT 1 AS n, 'a' AS s UNION ALL SELECT 2 AS n, 'b' AS s) AS two"
AT = "'2009-09-21 11:10:03.189717'::timestamp"

OTHERWISE = [
    ("ADD_MONTHS", "ADD_MONTHS('2008-04-30'::date, 1)", "2008-05-31 00:00:00"),
    ("CONCAT", "CONCAT('a', NULL)", None),
    ("DATEDIFF", "DATEDIFF(day, '2023-01-01 23:00'::timestamp, '2023-01-02'::timestamp)", 1),
    ("DATEDIFF", "DATEDIFF(hour, '2023-01-01 00:59'::timestamp, '2023-01-01 01:01')", 1),
    ("DATEDIFF", "DATEDIFF(month, '2023-01-31'::date, '2023-02-01'::date)", 1),
    ("DATEDIFF", "DATE_DIFF('yr', '2022-12-31'::date, '2023-01-01'::date)", 1),
    ("DATEDIFF in weeks", "DATEDIFF(week, '2023-01-05'::date, '2023-01-11'::date)", 1),
    ("DATEDIFF in weeks", "DATEDIFF(weeks, '2023-01-05'::date, '2023-01-11'::date)", 1),
    ("EXTRACT of seconds", f"EXTRACT(sec FROM {AT})", 3),
    ("EXTRACT of epoch or parts of a second", f"EXTRACT(ms FROM {AT})", 189),
    ("EXTRACT of epoch or parts of a second", f"EXTRACT(EPOCH FROM {AT})", 1253531403),
    ("DATE_PART of seconds", f"DATE_PART('sec', {AT})", 3.189717),
    ("LIKE with a backslash", r"'a%' LIKE 'a\\%'", True),
    ("LISTAGG", "LISTAGG(s)", "ab"),
    ("LISTAGG", "LISTAGG(DISTINCT s)", "ab"),
    ("NUMERIC without digits", "1.56::numeric", 2),
    ("NUMERIC without digits", "CONVERT(DECIMAL, 1.56)", 2),
    ("REGEXP_REPLACE", "REGEXP_REPLACE('aa', 'a', 'b')", "bb"),
    ("REGEXP_SUBSTR of an occurrence", "REGEXP_SUBSTR('ab', 'c', 1, 2)", ""),
    ("SIMILAR TO", "'abc' SIMILAR TO 'a%'", True),
    ("SUBSTRING from below 0", "SUBSTRING('caterpillar', -2, 5)", "ca"),
    ("TO_CHAR", f"TO_CHAR({AT}, 'Mon DD')", "Sep 21"),
    ("TO_CHAR", "TO_CHAR('2009-09-21 15:10'::timestamp, 'HH12:MI AM')", "03:10 PM"),
    ("VARCHAR(n) or CHAR", "CAST('abcdef' AS VARCHAR(3))", "abc"),
    ("VARCHAR(n) or CHAR", "'abc'::char", "a"),
]
THE_SAME = [
    ("DATEADD(month, 1, '2008-04-30'::date)", "2008-05-30 00:00:00"),
    ("DATEADD('qtr', 1, '2008-04-30'::date)", "2008-07-30 00:00:00"),
    ("LAST_DAY('2008-02-05'::date)", "2008-02-29"),
    ("'a' || NULL", None),
    ("DATEDIFF(day, '2023-01-01'::date, CAST('2023-01-02' AS DATE))", 1),
    ("DATE_PART('yr', '2009-09-21'::date)", 2009),
    ("DATE_PART(dow, '2009-09-20'::date)", 0),
    (f"FLOOR(DATE_PART(epoch, {AT}))", 1253531403),
    ("DATE_TRUNC('week', '2023-01-08'::timestamp)", "2023-01-02 00:00:00"),
    (f"TO_CHAR({AT}, 'YYYY-MM-DD HH24:MI:SS.US')", "2009-09-21 11:10:03.189717"),
    (f"TO_CHAR({AT}, 'IYYY-IW')", "2009-39"),
    ("TO_DATE('20010630', 'YYYYMMDD', TRUE)", "2001-06-30"),
    ("CONVERT_TIMEZONE('Asia/Seoul', '2023-01-01 20:00'::timestamp)", "2023-01-02 05:00:00"),
    ("NVL(NULL, 2)", 2),
    ("NVL2(NULL, 1, 2)", 2),
    ("DECODE(NULL, 1, 'x', NULL, 'y', 'z')", "y"),
    ("GREATEST(1, NULL)", 1),
    ("1.56::numeric(18, 0)", 2),
    ("2.56::decimal(10)", 3),
    ("CAST(12345 AS VARCHAR)", "12345"),
    ("LEFT('abcdef', 3)", "abc"),
    ("SUBSTRING('caterpillar', 0, 3)", "ca"),
    ("CHARINDEX('b', 'abc')", 2),
    ("SPLIT_PART('a,b', ',', 3)", ""),
    ("REGEXP_COUNT('aba', 'a')", 2),
    ("'a%' LIKE 'a!%' ESCAPE '!'", True),
    ("LISTAGG(s, '-')", "a-b"),
    ("LISTAGG(s, '-') WITHIN GROUP (ORDER BY n DESC)", "b-a"),
    ("LISTAGG(s, '-') WITHIN GROUP (ORDER BY NULLIF(n, 2) DESC, s)", "b-a"),
    ("LISTAGG(s, '-') WITHIN GROUP (ORDER BY NULLIF(n, 1))", "b-a"),
    ("MEDIAN(n)", 1.5),
    ("7 / 2", 3),
    ("'CONCAT(a, b)'", "CONCAT(a, b)"),
]


@pytest.fixture(params=ENGINES)
def warehouse(request: pytest.FixtureRequest) -> Warehouse:
    return request.getfixturevalue(f"{request.param}_warehouse")


def value(warehouse: Warehouse, expression: str) -> Any:
    """What the translated expression yields, whether it is refused or not."""
    query = parse_query(f"SELECT {expression} AS x FROM {TWO_ROWS} LIMIT 1", "query.sql")
    unasked = replace(warehouse.capabilities, means_otherwise=frozenset())
    return warehouse.fetch(query.text(unasked))[0][0]


def plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, bool)) else str(float_or_text(value))


def float_or_text(value: Any) -> Any:
    try:
        return float(value)
    except TypeError:
        return value


@pytest.mark.parametrize(("name", "expression", "in_redshift"), OTHERWISE)
def test_what_would_mean_something_else_is_refused(
    warehouse: Warehouse, name: str, expression: str, in_redshift: Any
) -> None:
    query = parse_query(f"SELECT {expression.lower()} FROM s.t", "query.sql")
    capabilities = warehouse.capabilities
    if name not in capabilities.means_otherwise:
        if not name.startswith(("REGEXP_SUBSTR", "DATEDIFF")):
            assert plain(value(warehouse, expression)) == plain(in_redshift)
        return
    assert plain(value(warehouse, expression)) != plain(in_redshift)
    with pytest.raises(SpecError, match=r"query\.sql: translated .*") as caught:
        query.text(capabilities)
    assert name in str(caught.value)
    assert f"query.{capabilities.dialect}.sql" in str(caught.value)


@pytest.mark.parametrize(("expression", "in_redshift"), THE_SAME)
def test_what_means_the_same_is_not_refused(
    warehouse: Warehouse, expression: str, in_redshift: Any
) -> None:
    query = parse_query(f"SELECT {expression} AS x FROM {TWO_ROWS} LIMIT 1", "query.sql")
    assert plain(warehouse.fetch(query.text(warehouse.capabilities))[0][0]) == plain(in_redshift)


def test_all_that_may_mean_something_else_is_tried_and_had_by_a_warehouse() -> None:
    assert {name for name, *_ in OTHERWISE} == set(DIFFERENCES)
    had = {name for each in WAREHOUSES for name in each.capabilities.means_otherwise}
    assert had == set(DIFFERENCES)
