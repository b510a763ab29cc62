"""A statement keeps its values beside its text, and knows no driver's mark."""

from __future__ import annotations

import pytest

from ferry import statements as sql
from ferry.errors import SchemaError
from ferry.schema import Column, DataType, Kind, TableName
from ferry.statements import PARAM, Statement
from ferry.write import merge
from ferry.write.deletions import Deletion

TARGET, STAGING = TableName("raw", "t?%s"), TableName("ferry", "stg")
INT = DataType(Kind.INT64)
ODD = (Column('margin_%"', INT), Column("%s", INT))


def test_names_with_percent_signs_question_marks_and_quotes_stay_as_they_are() -> None:
    insert = sql.insert_rows(TARGET, ODD, [(1, 2), (3, "?%s")])
    assert insert.values == (1, 2, 3, "?%s")
    head = 'INSERT INTO "raw"."t?%s" ("margin_%""", "%s") VALUES '
    assert insert.rendered("?") == head + "(?, ?), (?, ?)"
    doubled = insert.rendered("%s", lambda text: text.replace("%", "%%"))
    assert doubled == head.replace("%", "%%") + "(%s, %s), (%s, %s)"


@pytest.mark.parametrize(
    ("text", "values"),
    [("SELECT 1", (1,)), (f"SELECT {PARAM}", ()), (f"SELECT {PARAM}", (1, 2))],
)
def test_as_many_values_as_marks_make_a_statement(text: str, values: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=f"{len(values)} values for the {text.count(PARAM)} parameters"
    ):
        Statement(text, values)


def test_text_without_values_is_a_statement_and_one_with_a_mark_is_not() -> None:
    assert Statement.of("SELECT '?%s'") == Statement("SELECT '?%s'", ())
    assert Statement.of(whole := Statement(f"SELECT {PARAM}", (1,))) is whole
    with pytest.raises(ValueError, match="0 values for the 1 parameters"):
        Statement.of(f"SELECT {PARAM}")


def test_a_statement_that_is_printed_does_not_tell_its_values() -> None:
    assert "s3cret" not in f"{sql.delete_from(TARGET, 'note', 's3cret')!r}"


def test_no_name_can_hold_a_mark() -> None:
    with pytest.raises(SchemaError, match="a name has a NUL character in it"):
        sql.delete_from(TARGET, f"a{PARAM}b", 1)


@pytest.mark.parametrize("using", [True, False])
def test_values_stay_in_the_order_of_their_marks_when_statements_are_put_together(
    using: bool,
) -> None:
    gone = Deletion(Column("gone", DataType(Kind.TEXT)), ("Y", "y")).condition(pads_text=True)
    columns = (*ODD, Column("v", INT))
    known = merge.known(STAGING, TARGET, columns, ODD[:1], "v", pads_text=True, deleted=gone)
    within = sql.only_within(known, TARGET, "%s", 10, 20)
    narrow = merge.delete_joined(STAGING, TARGET, within, using=using)
    assert narrow.values == ("Y", 1, "y", 1, 10, 20)
    assert narrow.sql.index("OCTET_LENGTH") < narrow.sql.index("BETWEEN")
    assert sql.only_within("SELECT 1 WHERE 1 = 1", TARGET, "v", 1, 2).values == (1, 2)


def test_rows_known_by_another_table_are_deleted_by_what_the_engine_has() -> None:
    def ranged(whole: Statement) -> Statement:
        return sql.only_within(whole, TARGET, "%s", 1, 2)

    known = ranged(merge.known(STAGING, TARGET, ODD[:1], ODD[:1], None, pads_text=False))
    same = """"ferry"."stg"."margin_%""\" = "raw"."t?%s"."margin_%""\""""
    within = '"raw"."t?%s"."%s" BETWEEN ? AND ?'
    # The condition on the other table's rows stays where that table is named.
    exists = merge.delete_joined(STAGING, TARGET, known, using=False)
    assert exists.rendered("?") == (
        'DELETE FROM "ferry"."stg" WHERE EXISTS (SELECT 1 FROM "raw"."t?%s" '
        f"WHERE {same} AND (1 = 1) AND {within})"
    )
    joined = merge.delete_joined(STAGING, TARGET, known, using=True)
    assert joined.rendered("?") == (
        f'DELETE FROM "ferry"."stg" USING "raw"."t?%s" WHERE {same} AND (1 = 1) AND {within}'
    )
    ours = merge.delete_matching(TARGET, STAGING, ODD[:1], pads_text=False, using=False)
    assert ranged(ours).rendered("?") == (
        'DELETE FROM "raw"."t?%s" WHERE EXISTS (SELECT 1 FROM "ferry"."stg" '
        """WHERE "raw"."t?%s"."margin_%""\" = "ferry"."stg"."margin_%""\") """
        f"AND {within}"
    )


def test_an_engine_of_its_own_quotes_gets_names_in_them_and_literals_as_they_are() -> None:
    def backticked(name: str) -> str:
        return "`" + name.replace("`", "``") + "`"

    name = """a "b" `c` 'd'"""
    item = f"""'"x" it''s', {sql.quoted(name)}"""
    text = f"""SELECT {item} FROM {sql.table_sql(TARGET)} WHERE ' "' = {PARAM}"""
    comments = """-- it's "x"\n/* "y's" */"""
    text = f"{comments}{text}"
    told = Statement(text, (1,)).rendered("?", lambda each: sql.requoted(each, backticked))
    assert told.startswith(comments)
    assert told.removeprefix(comments) == (
        """SELECT '"x" it''s', `a "b" ``c`` 'd'` FROM `raw`.`t?%s` WHERE ' "' = ?"""
    )


def test_rows_go_in_so_many_statements_that_redshift_takes_each() -> None:
    short = [(n, None, "é") for n in range(600)]
    assert list(map(len, sql.rows_at_once(short))) == [250, 250, 100]
    long = [(n, "é" * 60_000, "'" * 60_000) for n in range(300)]
    slices = list(sql.rows_at_once(long))
    assert [row for some in slices for row in some] == long
    sizes = [sum(len(text.encode()) for _, *texts in some for text in texts) for some in slices]
    assert max(sizes) < 5_000_000
    assert list(map(len, sql.rows_at_once([(1, "x" * 5_000_000), (2, "")]))) == [1, 1]
    assert list(sql.rows_at_once([])) == []
