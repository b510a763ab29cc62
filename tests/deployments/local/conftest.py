"""The shared Redshift double, in a database of its own, and a bucket that it loads from."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg2
import pytest

if TYPE_CHECKING:
    from psycopg2.extensions import connection, cursor

    from deployments.local.redshift_double import RedshiftDouble
    from deployments.local.servers import S3, Postgres

_names = itertools.count()


@pytest.fixture(scope="session")
def s3_client(s3: S3) -> Any:
    """A boto3 client, which has no types, with a bucket ``stage``."""
    s3.make_bucket("stage")
    return s3.client()


@pytest.fixture(scope="session")
def login(postgres: Postgres) -> dict[str, str]:
    """User, password and database of the double's own tests."""
    with closing(postgres.connect()) as session:
        session.autocommit = True
        with session.cursor() as statements:
            statements.execute("CREATE DATABASE double TEMPLATE template0")
    return {"user": postgres.user, "password": postgres.password, "dbname": "double"}


@pytest.fixture
def double(redshift_double: RedshiftDouble) -> Iterator[RedshiftDouble]:
    """The shared double, which forgets the test's faults afterwards."""
    yield redshift_double
    redshift_double.clear()


@pytest.fixture
def connect(double: RedshiftDouble, login: dict[str, str]) -> Iterator[Callable[..., connection]]:
    """Opens sessions through the double, in autocommit unless told otherwise."""
    opened: list[connection] = []

    def open_session(autocommit: bool = True, **options: Any) -> connection:
        where = {"host": double.host, "port": double.port, **login}
        session: connection = psycopg2.connect(**{**where, **options})
        session.autocommit = autocommit
        opened.append(session)
        return session

    yield open_session
    for session in opened:
        session.close()


@pytest.fixture
def redshift(connect: Callable[..., connection]) -> Iterator[cursor]:
    """A cursor in autocommit, in a schema of its own."""
    session = connect()
    schema = f"s{next(_names)}"
    with session.cursor() as statements:
        statements.execute(f"CREATE SCHEMA {schema}")
        statements.execute(f"SET search_path TO {schema}")
        yield statements
        session.rollback()
        statements.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def tables(redshift: cursor) -> cursor:
    """Two tables of two rows, in its schema."""
    redshift.execute("CREATE TABLE t (id int, name varchar(5))")
    redshift.execute("CREATE TABLE s (id int, name varchar(5))")
    redshift.execute("INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    redshift.execute("INSERT INTO s VALUES (2, 'B'), (3, 'C')")
    return redshift


@pytest.fixture
def stage(s3_client: Any) -> Callable[..., str]:
    """Uploads files and their manifest below a key of their own; returns the manifest's URI."""

    def put(*bodies: bytes, missing: tuple[bool, ...] = (), meta: bool = False) -> str:
        prefix, entries = f"batch{next(_names)}", []
        for number, body in enumerate(bodies):
            key = f"{prefix}/part{number}"
            s3_client.put_object(Bucket="stage", Key=key, Body=body)
            entry: dict[str, Any] = {"url": f"s3://stage/{key}", "mandatory": True}
            if meta:
                entry["meta"] = {"content_length": len(body)}
            entries.append(entry)
        entries += [
            {"url": f"s3://stage/{prefix}/missing{i}", "mandatory": mandatory}
            for i, mandatory in enumerate(missing)
        ]
        body = json.dumps({"entries": entries}).encode()
        s3_client.put_object(Bucket="stage", Key=f"{prefix}/manifest.json", Body=body)
        return f"s3://stage/{prefix}/manifest.json"

    return put
