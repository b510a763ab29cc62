"""A warehouse that speaks a query's own SQL is sent what the author wrote, but for the bounds."""

from __future__ import annotations

import pickle
import re
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ferry.capabilities import Capabilities
from ferry.errors import SpecError
from ferry.schema import TableName
from ferry.statements import PARAM
from ferry.summaries.moments import by_moments
from ferry.summaries.query import bound, insert_selected, parse_query
from tests.harness.write_engine import REDSHIFTS_SQL

TARGET = TableName("s", "target")
ZONED = {TableName("s", "t"): {"at"}}
VALUES: dict[str, Any] = {
    **dict.fromkeys(("window_start", "window_end"), "wall clock"),
    **dict.fromkeys(("moment_start", "moment_end"), "moment"),
    "span_0_start": "span",
}
SHIPPED = Path(__file__).parents[3] / "deployments" / "summaries"

EXPRESSIONS = {
    "redshift": [
        *("ADD_MONTHS(d, 1)", "DATEADD(month, 1, d)", "DATEADD('month', 1, d)", "LAST_DAY(d)"),
        *("DATE_PART('yr', d)", "DATE_PART(sec, at)", "EXTRACT(SEC FROM at)", "DATE_TRUNC('w', d)"),
        *("DATEDIFF(day, a, b)", "DATEDIFF('qtr', a, b)", "MONTHS_BETWEEN(a, b)", "d + 7"),
        *("TO_DATE(s, 'YYYYMMDD', TRUE)", "TO_TIMESTAMP(s, 'YYYY', FALSE)", "TO_CHAR(d, 'IYYY')"),
        *("CURRENT_SCHEMA()", "CURRENT_USER", "GETDATE()", "SYSDATE", "CURRENT_DATE", "TRUNC(at)"),
        *("NVL(a, b)", "NVL2(a, b, c)", "ISNULL(a, 0)", "DECODE(a, 1, 'x', NULL, 'y', 'z')"),
        *("CONVERT_TIMEZONE('Asia/Seoul', at)", "at AT TIME ZONE 'Asia/Seoul'", "CONVERT(int, a)"),
        *("LISTAGG(s, ',') WITHIN GROUP (ORDER BY s DESC)", "LISTAGG(DISTINCT s)", "MEDIAN(a)"),
        *("PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY a)", "RATIO_TO_REPORT(a) OVER ()"),
        *("APPROXIMATE COUNT(DISTINCT a)", "COUNT(DISTINCT a)", "COUNT(1)", "count(*)"),
        *("a || b", "CONCAT(a, b)", "CAST(s AS VARCHAR(3))", "s::varchar", "s::char(3)"),
        *("a::numeric", "CAST(a AS NUMERIC)", "a::decimal(10,2)", "a::int8", "a::float4"),
        *("JSON_EXTRACT_PATH_TEXT(s, 'a', 'b', TRUE)", "JSON_PARSE(s)", "IS_VALID_JSON(s)"),
        *("REGEXP_REPLACE(s, '[0-9]+', '')", "REGEXP_SUBSTR(s, 'a.c', 1, 1, 'e')", "s ~ '^a\\\\d'"),
        *("REGEXP_COUNT(s, 'a')", "SPLIT_PART(s, ',', 1)", "STRTOL(s, 16)", "CHARINDEX('a', s)"),
        *("SUBSTRING(s, 1, 3)", "SUBSTRING(s FROM 1 FOR 3)", "LEFT(s, 2)", "LEN(s)", "LENGTH(s)"),
        *("BTRIM(s)", "TRIM(BOTH ' ' FROM s)", "POSITION('a' IN s)", "s LIKE '50!%' ESCAPE '!'"),
        *("FUNC_SHA1(s)", "MD5(s)", "s.udf(a)", "CASE a WHEN 1 THEN 2 ELSE 3 END", "a % 7"),
        *("GREATEST(a, b)", "IFF", "a != b", "a <> b", "NOT a = b", "a IS NOT NULL", "a ^ 2"),
        *("INTERVAL '1 day'", "d - INTERVAL '1 month'", "DATE '2023-01-05'", "TIMESTAMP 'now'"),
        *("'it''s :window_start'", "'50 %s ? ::date'", '"Mixed ""Case""".d', "'é😀'", "1.50"),
        *("LAG(a, 1) IGNORE NULLS OVER (PARTITION BY b ORDER BY d)", "SUM(a) FILTER (WHERE b)"),
        "SUM(a) OVER (ORDER BY d ROWS UNBOUNDED PRECEDING)",
    ],
    "postgres": [
        *("DATE_PART('epoch', at)", "TO_DATE(s, 'YYYYMMDD')", "STRING_AGG(s, ',' ORDER BY s)"),
        *("s::varchar(3)", "a::numeric", "AGE(a, b)", "s ~* 'a'", "E'a\\n'", "a::int4"),
        *("ARRAY_AGG(a)[1:2]", "$$it's :window_start$$", "at::timestamptz(3)", "NOW()"),
        *("COUNT(*) FILTER (WHERE a > 1)", "CURRENT_SCHEMA()", "a IS DISTINCT FROM b"),
    ],
    "duckdb": [
        *("DATE_DIFF('day', a, b)", "STRFTIME(at, '%Y')", "LIST(a)", "l[1:n]", "{'a': upper(s)}"),
        *("a // 2", "CAST(s AS VARCHAR(3))", "REGEXP_REPLACE(s, 'a', 'b', 'g')", "s[1]"),
        *("COUNT_IF(a > 1)", "ANY_VALUE(a)", "LAST_DAY(d)", "EPOCH(at)", "QUANTILE(a, 0.5)"),
    ],
}  # fmt: skip


def capabilities(dialect: str) -> Capabilities:
    return replace(REDSHIFTS_SQL, dialect=dialect)


def sent(text: str, dialect: str = "redshift") -> str:
    return bound(parse_query(text, "q", dialect=dialect).text(capabilities(dialect)), VALUES).sql


@pytest.mark.parametrize(
    ("dialect", "expression"),
    [(dialect, each) for dialect, all_of_it in EXPRESSIONS.items() for each in all_of_it],
)
def test_an_expression_is_sent_as_it_is_written(dialect: str, expression: str) -> None:
    text = "SELECT {0} AS x FROM s.t WHERE at >= {1} AND ({0}) IS NOT NULL AND at<{2}"
    written = text.format(expression, ":window_start", ":window_end")
    assert sent(written, dialect) == text.format(expression, PARAM, PARAM)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT TOP 5 a FROM s.t WHERE at >= :window_start ORDER BY 1 DESC",
        "select a from s.t qualify ROW_NUMBER() OVER (PARTITION BY b ORDER BY at) = 1",
        "WITH a AS (SELECT 1 AS b FROM s.t), c AS (SELECT b FROM a)\nSELECT b FROM c WHERE b = 1",
        "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a) SELECT n FROM a LIMIT 3",
        "-- it's :window_start\nSELECT a, -- \"b\"\n  b /* ; */ FROM s.t -- ?\n WHERE a = 1",
        "SELECT a FROM s.t MINUS SELECT a FROM s.u",
        "(SELECT a FROM s.t) UNION ALL (SELECT a FROM s.u)",
        "SELECT a FROM s.t, s.u x WHERE t.a = x.a(+)",
        "SELECT a FROM s.t LEFT OUTER JOIN s.u USING (a) CROSS JOIN \"s\".\"w\"",
        "SELECT a FROM s.t GROUP BY ROLLUP (a) HAVING COUNT(*) > 1 ORDER BY a NULLS FIRST",
        "SELECT * FROM (SELECT a, b FROM s.t) PIVOT (SUM(a) FOR b IN ('x', 'y'))",
        "SELECT :window_start::date AS a, CAST(:window_end AS TIMESTAMP) AS b FROM s.t",
        "SELECT DATEDIFF(day, :window_start, :window_end) FROM s.t WHERE (:window_start)<at",
    ],
)  # fmt: skip
def test_a_statement_is_sent_as_it_is_written(text: str) -> None:
    expected = re.sub(r"(?<!it's ):window_\w+", PARAM, text)
    assert sent(text) == expected
    assert sent(f"{text};") == expected
    assert sent(f"{text}\n;;\n-- that's all; really\n") == expected


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*/query*.sql")), ids=str)
def test_a_shipped_summary_is_sent_as_it_is_written(file: Path) -> None:
    text = file.read_text()
    insert = insert_selected(TARGET, parse_query(text, file.name), ["a", "b"], REDSHIFTS_SQL)
    written = re.sub(r":window_\w+", PARAM, text.strip())
    assert bound(insert, VALUES).sql == (
        f'INSERT INTO "s"."target" ("a", "b") SELECT "a", "b" FROM ({written}) AS summary'
    )


def test_what_follows_the_last_word_does_not_hide_what_follows_the_query() -> None:
    query = parse_query("SELECT a FROM s.t -- ends here\n", "q")
    assert insert_selected(TARGET, query, ["a"], REDSHIFTS_SQL).endswith("FROM s.t) AS summary")


@pytest.mark.parametrize(
    ("bounded", "as_moment"),
    [
        ("at >= :window_start", "at >= \0"),
        ("at>=(:window_start)AND a", "at>=\0 AND a"),
        ("at >= :window_start::DATE AND a", "at >= \0 AND a"),
        ("at >= ((:window_start)::timestamp (3) without time zone) AND a", "at >= \0 AND a"),
        ("at >= :window_start::TIMESTAMP WITH TIME ZONE::date AND a", "at >= \0 AND a"),
        ("CAST(:window_start AS timestamp(3) with time zone) <= at", "\0 <= at"),
        ("CONVERT(DATE, (:window_start)) <= at OR f(a)", "\0 <= at OR f(a)"),
        ("((CAST((:window_start::date) AS date)))=at", "\0=at"),
        ("at BETWEEN :window_start -- it's\n AND CAST(a AS date)",
         "at BETWEEN \0 -- it's\n AND CAST(a AS date)"),
        ("at > CAST(':window_start' AS date)", None),
        ("at > ADD_MONTHS(:window_start, 1)", None),
        ("plain > :window_start::DATE", None),
    ],
)  # fmt: skip
def test_a_moment_is_put_in_and_the_rest_stays(bounded: str, as_moment: str | None) -> None:
    text = f"SELECT ADD_MONTHS(d, 1), :window_end::date FROM s.t WHERE {bounded}"
    query = by_moments(parse_query(text, "q"), ZONED)
    statement = bound(query.text(REDSHIFTS_SQL), VALUES)
    head = "SELECT ADD_MONTHS(d, 1), \0::date FROM s.t WHERE "
    if as_moment is None:
        assert statement.sql == head + re.sub(r"(?<!'):window_start", PARAM, bounded)
        assert "moment" not in statement.values
    else:
        assert statement == replace(statement, sql=head + as_moment)
        assert statement.values == ("wall clock", "moment")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("s.target", '(SELECT 1) AS "target"'),
        ('"s" . "Target"', '(SELECT 1) AS "Target"'),
        ("S.TARGET AS q", "(SELECT 1) AS q"),
        ("s.target q JOIN s.t USING (a)", "(SELECT 1) q JOIN s.t USING (a)"),
        ("s.t, s.target -- s.target\n, s.u", 's.t, (SELECT 1) AS "target" -- s.target\n, s.u'),
        ('s.target"q"', '(SELECT 1) "q"'),
        ("s.t AS target", None),
    ],
)
def test_another_table_is_read_and_the_rest_stays(source: str, expected: str | None) -> None:
    text = "SELECT ADD_MONTHS(target.d, 1), 's.target' FROM {} WHERE a::numeric = 1"
    query = parse_query(text.format(source), "q").reading(TARGET, "(SELECT 1)")
    assert query.text(REDSHIFTS_SQL) == text.format(expected or source)
    bounded = parse_query(text.format(source), "q").reading(TARGET, "(SELECT :span_0_start)")
    assert bounded.parameters == ({"span_0_start"} if expected else frozenset())


@pytest.mark.parametrize(
    ("dialect", "parameter"),
    [
        *(("redshift", each) for each in ("%(window_start)s", ':"window_start"', "?", "$1")),
        ("redshift", ":window_start AND at < %(window_start)s"),
        *(("duckdb", each) for each in ("$window_start", "$1", ":WINDOW_START")),
    ],
)
def test_a_parameter_that_is_written_otherwise_is_refused(dialect: str, parameter: str) -> None:
    with pytest.raises(SpecError, match=r"q:1: unknown parameters: .*only :window_start and"):
        parse_query(f"SELECT a FROM s.t WHERE at > {parameter}", "q", dialect=dialect)


def test_a_query_can_be_copied() -> None:
    query = parse_query("SELECT a FROM s.t WHERE at >= :window_start", "q")
    assert pickle.loads(pickle.dumps(query)) == deepcopy(query) == query
    assert pickle.loads(pickle.dumps(query)).text(REDSHIFTS_SQL) == query.text(REDSHIFTS_SQL)
