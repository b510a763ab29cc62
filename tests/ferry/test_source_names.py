"""How a spec writes the names of source tables."""

import pytest

from ferry.source_names import parse_source_name


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
