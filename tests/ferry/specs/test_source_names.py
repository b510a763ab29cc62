"""How a spec writes the names of source tables."""

import pytest

from ferry.specs.source_names import parse_source_name, written


@pytest.mark.parametrize(
    ("text", "database", "table"),
    [
        ("users", "", "users"),
        ("app.users", "app", "users"),
        ("my.db.users", "my.db", "users"),
        ("`app.users`", "", "app.users"),
        ("`my.db`.`app.users`", "my.db", "app.users"),
        ("app.`users.old`", "app", "users.old"),
        ("`my.db`.users", "my.db", "users"),
        ("`users`", "", "users"),
    ],
)
def test_a_dot_parts_database_and_table_but_in_backticks(text: str, database: str, table: str):
    found = parse_source_name(text)
    assert (found.schema, found.name) == (database, table)
    assert parse_source_name(written(found)) == found


def test_no_two_tables_are_written_alike() -> None:
    names = ["app.users", "`app.users`", "a.`b.c`", "`a.b`.c", "`a.b.c`", "users"]
    assert len({written(parse_source_name(name)) for name in names}) == len(names)


@pytest.mark.parametrize(
    "text",
    [
        "`users",
        "users`",
        "``",
        "`a`b`",
        "us`er`s",
        "`a`.",
        ".`a`",
        "`a`.`b`.`c`",
        "a.b.`c`",
        "`a``b`",
    ],
)
def test_backticks_that_are_not_around_a_whole_part_are_refused(text: str):
    with pytest.raises(ValueError, match="backticks stand around a whole name"):
        parse_source_name(text)


@pytest.mark.parametrize("text", ["", "o'users", 'o"users', "a;b", "`a;b`", "a\\b", "`a\nb`"])
def test_marks_that_no_name_has_are_refused(text: str):
    with pytest.raises(ValueError, match="no quotes, semicolons"):
        parse_source_name(text)
