"""What a warehouse would take for something else is found in what the author wrote."""

from __future__ import annotations

import pytest

from ferry.capabilities import Capabilities
from ferry.errors import SpecError
from ferry.summaries.query import parse_query
from ferry.summaries.translated import DIFFERENCES


def translated(select: str, *means_otherwise: str, dialect: str = "postgres") -> str:
    capabilities = Capabilities(
        stage_formats=(),
        max_identifier_bytes=63,
        max_text_bytes=None,
        max_columns=100,
        dialect=dialect,
        means_otherwise=frozenset(means_otherwise or DIFFERENCES),
    )
    return parse_query(f"SELECT {select} FROM s.t", "query.sql").text(capabilities)


@pytest.mark.parametrize(
    "select",
    [
        "concat(a, b)",
        '"CONCAT" (a, b)',
        "a || UPPER(NVL(CONCAT('x', (b)), c))",
        "CASE WHEN a = 1 THEN CONCAT /* both */ (a, b) END",
        "(SELECT MAX(CONCAT(a, b)) FROM s.u)",
    ],
)
def test_a_function_is_found_however_deep_it_stands(select: str) -> None:
    with pytest.raises(SpecError, match=r"query\.sql: .* something else: CONCAT\. In place"):
        translated(select)


@pytest.mark.parametrize(
    "select",
    [
        "'CONCAT(a, b)'",
        "a -- CONCAT(a, b)\n",
        "s.concat(a, b)",
        "concat",
        "a AS concat, (b)",
        "EXTRACT(second_at FROM b)",
        "DATE_PART(month, second)",
        "LISTAGG(a, ', ')",
        "TO_CHAR(a, 'YYYY-MM-DD HH24:MI')",
        "a LIKE 'b!_%' ESCAPE '!'",
        "a::varchar || b::text",
        "a::varchar(65535) || b",
        "DATEDIFF(day, CAST(a AS DATE), b::date)",
    ],
)
def test_what_is_only_called_like_it_is_translated(select: str) -> None:
    assert translated(select).endswith("FROM s.t")


@pytest.mark.parametrize(
    ("select", "names"),
    [
        ("DATEDIFF(day, a::date, b)", ["DATEDIFF"]),
        ("DATE_DIFF('wk', a::date, b::date)", ["DATEDIFF", "DATEDIFF in weeks"]),
        ("LISTAGG(DISTINCT a, ',')", ["LISTAGG"]),
        ("TO_CHAR(a, b)", ["TO_CHAR"]),
        ("TO_CHAR(a, 'YYYY-MM-DD hh24')", ["TO_CHAR"]),
        ("TO_CHAR(a, 'FMMonth')", ["TO_CHAR"]),
        ("CONVERT(nvarchar(3), a)::dec", ["NUMERIC without digits", "VARCHAR(n) or CHAR"]),
        ("ADD_MONTHS(CONCAT(a, b), 1)", ["ADD_MONTHS", "CONCAT"]),
        ("a NOT ILIKE 'b\\\\_'", ["LIKE with a backslash"]),
    ],
)
def test_all_that_is_found_is_named(select: str, names: list[str]) -> None:
    with pytest.raises(SpecError) as caught:
        translated(select)
    assert caught.value.problem.endswith(f"something else: {', '.join(names)}")
    assert caught.value.todo.count("In place of") == len(names)
    assert "query.postgres.sql" in caught.value.todo


def test_only_what_the_warehouse_takes_for_something_else_is_refused() -> None:
    assert translated("CONCAT(a, b)", "ADD_MONTHS").startswith("SELECT CONCAT(a, b)")
    assert translated("CONCAT(a, b)", dialect="redshift") == "SELECT CONCAT(a, b) FROM s.t"


def test_what_sqlglot_says_it_cannot_translate_is_refused() -> None:
    select = "LAG(a) IGNORE NULLS OVER (ORDER BY b)"
    with pytest.raises(SpecError, match=r"query\.sql: not to be translated .*IGNORE NULLS"):
        translated(select)
    assert "IGNORE NULLS" in translated(select, dialect="duckdb")
