"""What a refusal says of the right that is missing."""

from __future__ import annotations

import pytest

from blocks.postgres.access import explain_access

INSERT = 'INSERT INTO "lab"."orders" ("id") SELECT "id" FROM "ferry"."stg_1" WHERE x'


@pytest.mark.parametrize(
    ("message", "statement", "grant"),
    [
        ("permission denied for table orders", INSERT, 'GRANT INSERT ON TABLE "lab"."orders" TO'),
        ("permission denied for relation stg_1", INSERT, 'GRANT SELECT ON TABLE "ferry"."stg_1"'),
        (
            "permission denied for table orders",
            'DELETE FROM "lab"."orders" USING "ferry"."stg_1"',
            'GRANT SELECT, DELETE ON TABLE "lab"."orders" TO',
        ),
        (
            "permission denied for relation orders",
            'LOCK TABLE "lab"."orders"',
            'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "lab"."orders" TO',
        ),
        ("permission denied for schema lab", "SELECT 1", 'GRANT USAGE ON SCHEMA "lab" TO'),
        (
            "permission denied for schema lab",
            'CREATE TABLE IF NOT EXISTS "lab"."orders" ("id" int)',
            'GRANT USAGE, CREATE ON SCHEMA "lab" TO',
        ),
        (
            "permission denied for database shop",
            'CREATE SCHEMA IF NOT EXISTS "lab"',
            'GRANT CREATE ON DATABASE "shop" TO',
        ),
        (
            'connection to server failed: FATAL:  permission denied for database "shop"\n'
            "DETAIL:  User does not have CONNECT privilege.\n",
            "",
            'GRANT CONNECT ON DATABASE "shop" TO',
        ),
        (
            "must be owner of relation orders",
            'ALTER TABLE "lab"."orders" ADD COLUMN "a" int',
            'ALTER TABLE "lab"."orders" OWNER TO',
        ),
    ],
)
def test_the_right_and_the_thing_are_named_as_a_statement(
    message: str, statement: str, grant: str
) -> None:
    told = explain_access(message, statement, "loader")
    assert told is not None
    assert grant in told[1]
    assert told[1].endswith('"loader";')


def test_other_refusals_are_left_to_the_general_words() -> None:
    assert explain_access("S3 prefix does not exist", 'COPY "t" FROM', "loader") is None
