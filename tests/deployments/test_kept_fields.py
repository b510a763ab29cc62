"""Registering again changes what the environment names, and nothing that people have set."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest
from prefect.blocks.core import Block
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import BlockDocumentUpdate
from prefect_aws import AwsCredentials
from pydantic import SecretStr

from blocks.sources import SOURCES, MySQLSource, SQLiteSource
from blocks.stages import STAGES, FolderStage, S3Stage
from blocks.warehouses import WAREHOUSES, RedshiftWarehouse
from deployments import register as registration
from deployments.kept_fields import with_stored
from deployments.local.servers import PrefectServer
from ferry.errors import ConfigurationError
from tests.harness.afterwards import PLANTED
from tests.harness.saved_blocks import registered_once
from tests.harness.slack import WEBHOOK

ENVIRONMENT = {
    "FERRY_MYSQL_HOST": "db.example.com",
    "FERRY_MYSQL_USER": "reader",
    "FERRY_MYSQL_PASSWORD": "p1anted-mysql",
    "FERRY_MYSQL_DATABASE": "shop",
    "FERRY_S3_BUCKET": "our-bucket",
    "FERRY_S3_ACCESS_KEY": "AKIAUNT0LD",
    "FERRY_S3_SECRET_KEY": "p1anted-s3",
    "FERRY_WAREHOUSE_HOST": "dwh.example.com",
    "FERRY_WAREHOUSE_USER": "loader",
    "FERRY_WAREHOUSE_PASSWORD": "p1anted-redshift",
    "FERRY_WAREHOUSE_DATABASE": "analytics",
}
B = TypeVar("B", bound=Block)
UNTOLD = "unt0ld"  # stands in values that are no secrets, which Prefect tells in its events
ROLE = "arn:aws:iam::123456789012:role/ferry"


@pytest.fixture
def name(registering: str) -> Iterator[str]:
    """As `registering`, with each class registered once for all tests."""
    with registered_once():
        yield registering


@pytest.fixture
def registering(prefect_server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """How the names of the test's blocks begin; its environment is one of its own."""
    assert prefect_server
    for each in [each for each in os.environ if each.startswith("FERRY_")]:
        monkeypatch.delenv(each)
    for each, value in ENVIRONMENT.items():
        monkeypatch.setenv(each, value)
    name = f"kept-{uuid.uuid4().hex[:8]}"
    monkeypatch.setattr(registration, "SOURCE", called(MySQLSource, name))
    monkeypatch.setattr(registration, "STAGE", called(S3Stage, name))
    monkeypatch.setattr(registration, "WAREHOUSE", called(RedshiftWarehouse, name))
    monkeypatch.setattr(registration, "register_guards", lambda *_args, **_kwargs: [])
    yield name
    kinds: list[type[Block]] = [*SOURCES, *STAGES, *WAREHOUSES, AwsCredentials]
    for kind in kinds:
        if called(kind, name) in saved_names(kind):
            cast(Any, kind).delete(called(kind, name))


def called(kind: type[Block], name: str) -> str:
    roles = ("source", SOURCES), ("stage", STAGES), ("warehouse", WAREHOUSES)
    return next((f"{name}-{role}" for role, kinds in roles if kind in kinds), name)


def saved_names(kind: type[Block]) -> set[str]:
    asked = {"block_types": {"slug": {"any_": [kind.get_block_type_slug()]}}}
    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/block_documents/filter", json=asked)
    return {each["name"] for each in answer.json()}


def load(kind: type[B], name: str) -> B:
    return cast(B, kind.load(called(kind, name)))


def set_in_the_ui(kind: type[Block], name: str, **fields: Any) -> None:
    """What the UI sends: the fields that are on the page, all others as they are."""
    slug = kind.get_block_type_slug()
    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name(called(kind, name), slug)
        client.update_block_document(
            document.id,
            BlockDocumentUpdate(
                block_schema_id=document.block_schema_id, data=document.data | fields
            ),
        )


def register(name: str) -> dict[str, str]:
    """What registering says of each block, by its kind, which tells no value of a field."""
    lines = [line.partition("/") for line in registration.register("aws")]
    said = {slug: rest.partition(": ")[2] for slug, _, rest in lines}
    assert PLANTED not in str(said) and UNTOLD not in str(said)
    return said


NOTHING = {"mysql-source": "", "s3-stage": "", "redshift-warehouse": ""}


def test_registered_twice_nothing_is_said_and_nothing_differs(registering: str) -> None:
    name = registering
    assert register(name) == NOTHING
    before = [load(kind, name) for kind in (MySQLSource, S3Stage, RedshiftWarehouse)]
    assert register(name) == NOTHING
    assert [load(kind, name) for kind in (MySQLSource, S3Stage, RedshiftWarehouse)] == before
    assert load(S3Stage, name).credentials.region_name == "us-east-1"


def test_what_people_have_set_of_the_stage_stays_encryption_included(name: str) -> None:
    register(name)
    stored = load(S3Stage, name)
    stored.prefix, stored.server_side_encryption, stored.kms_key_id = "stage", "aws:kms", "key-1"
    stored.credentials.assume_role_arn = ROLE
    stored.credentials.region_name = "eu-central-1"
    stored.credentials.aws_client_parameters.config = {"proxies": {"https": "http://unt0ld"}}
    stored.save(called(S3Stage, name), overwrite=True)
    said = register(name)
    again = load(S3Stage, name)
    assert again == stored
    assert again.credentials.aws_secret_access_key == SecretStr("p1anted-s3")
    assert said["s3-stage"] == (
        "kept as stored: prefix, credentials.region_name, credentials.aws_client_parameters.config,"
        " credentials.assume_role_arn, server_side_encryption, kms_key_id"
    )


def test_what_people_have_set_of_the_warehouse_and_the_source_stays(name: str) -> None:
    register(name)
    set_in_the_ui(
        RedshiftWarehouse,
        name,
        sslmode="verify-ca",
        statement_timeout_seconds=60,
        region="eu-west-1",
        port=5440,
        iam_role=ROLE,
    )
    set_in_the_ui(MySQLSource, name, verify_tls=True, ca_path="/etc/ca.pem", batch_rows=9)
    said = register(name)
    warehouse, source = load(RedshiftWarehouse, name), load(MySQLSource, name)
    assert (warehouse.sslmode, warehouse.statement_timeout_seconds) == ("verify-ca", 60)
    assert (warehouse.region, warehouse.port, warehouse.iam_role) == ("eu-west-1", 5440, ROLE)
    assert (source.verify_tls, source.ca_path, source.batch_rows) == (True, "/etc/ca.pem", 9)
    assert said == {
        "mysql-source": "kept as stored: ca_path, verify_tls, batch_rows",
        "s3-stage": "",
        "redshift-warehouse": "kept as stored: port, sslmode, statement_timeout_seconds,"
        " iam_role, region",
    }


def test_what_the_environment_names_goes_before_what_is_stored(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(name)
    for kind in (MySQLSource, RedshiftWarehouse):
        set_in_the_ui(kind, name, user="somebody", port=9999, password="p1anted-old")
    stored = load(S3Stage, name)
    stored.bucket_name, stored.server_side_encryption = "other-bucket", "AES256"
    stored.credentials.aws_secret_access_key = SecretStr("p1anted-old")
    stored.credentials.aws_session_token = "unt0ld-token"
    stored.credentials.region_name = "eu-central-1"
    stored.save(called(S3Stage, name), overwrite=True)
    for each, value in {
        "FERRY_MYSQL_PORT": "3307",
        "FERRY_MYSQL_PASSWORD": "p1anted-new",
        "FERRY_WAREHOUSE_PORT": "5439",
        "FERRY_S3_REGION": "eu-north-1",
    }.items():
        monkeypatch.setenv(each, value)
    assert register(name) == {
        "mysql-source": "changed: port, user, password",
        "s3-stage": "changed: bucket_name, credentials.aws_secret_access_key,"
        " credentials.aws_session_token, credentials.region_name;"
        " kept as stored: server_side_encryption",
        "redshift-warehouse": "changed: port, user, password, region",
    }
    source, warehouse, stage = (
        load(MySQLSource, name),
        load(RedshiftWarehouse, name),
        load(S3Stage, name),
    )
    assert (source.user, source.port) == ("reader", 3307)
    assert source.password == SecretStr("p1anted-new")
    assert (warehouse.user, warehouse.port) == ("loader", 5439)
    assert warehouse.password == SecretStr("p1anted-redshift")
    assert (warehouse.region, stage.credentials.region_name) == ("eu-north-1", "eu-north-1")
    assert (stage.bucket_name, stage.server_side_encryption) == ("our-bucket", "AES256")
    assert stage.credentials.aws_secret_access_key == SecretStr("p1anted-s3")
    assert stage.credentials.aws_session_token is None  # it belonged to other keys


def test_a_block_that_leads_elsewhere_from_now_on_is_said_to(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another environment's are registered with the same Prefect server."""
    register(name)
    monkeypatch.setenv("FERRY_MYSQL_HOST", "unt0ld.example.com")
    monkeypatch.setenv("FERRY_S3_BUCKET", "unt0ld-bucket")
    monkeypatch.setenv("FERRY_WAREHOUSE_DATABASE", "unt0ld")
    assert register(name) == {
        "mysql-source": "changed: host",
        "s3-stage": "changed: bucket_name",
        "redshift-warehouse": "changed: database",
    }
    assert register(name) == NOTHING


def test_keys_and_an_endpoint_that_are_named_no_more_stay_until_they_are_cleared(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERRY_S3_ENDPOINT", "http://127.0.0.1:9000")
    register(name)
    for each in ("FERRY_S3_ENDPOINT", "FERRY_S3_ACCESS_KEY", "FERRY_S3_SECRET_KEY"):
        monkeypatch.delenv(each)
    assert register(name)["s3-stage"] == (
        "kept as stored: credentials.aws_access_key_id, credentials.aws_secret_access_key,"
        " credentials.aws_client_parameters.endpoint_url, credentials.aws_client_parameters.config"
    )
    monkeypatch.setenv("FERRY_S3_ENDPOINT", "")
    register(name)
    stored = load(S3Stage, name).credentials
    assert stored.aws_secret_access_key == SecretStr("p1anted-s3")
    assert stored.aws_client_parameters.endpoint_url is None


def test_credentials_that_are_a_block_of_their_own_stay_that_block_or_are_copied(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may use that block: registering never changes it."""
    for each in ("FERRY_S3_ACCESS_KEY", "FERRY_S3_SECRET_KEY"):
        monkeypatch.delenv(each)
    monkeypatch.setenv("FERRY_S3_REGION", "eu-central-1")
    register(name)
    own = AwsCredentials(region_name="eu-central-1", assume_role_arn=ROLE)
    reference = {"$ref": {"block_document_id": str(own.save(name))}}
    set_in_the_ui(S3Stage, name, credentials=reference)
    assert register(name)["s3-stage"] == "kept as stored: credentials.assume_role_arn"
    assert load(S3Stage, name).credentials._block_document_name == name
    monkeypatch.setenv("FERRY_S3_REGION", "eu-north-1")
    assert register(name)["s3-stage"] == (
        "changed: credentials.region_name; kept as stored: credentials.assume_role_arn;"
        f" credentials is a copy of aws-credentials/{name} now, but for region_name"
    )
    stage = load(S3Stage, name).credentials
    assert stage._block_document_name is None
    assert (stage.region_name, stage.assume_role_arn) == ("eu-north-1", ROLE)
    assert load(AwsCredentials, name).region_name == "eu-central-1"


def test_a_block_of_another_kind_is_replaced_and_named(name: str) -> None:
    SQLiteSource(path="/tmp/unt0ld.sqlite").save(called(SQLiteSource, name))
    FolderStage(path=Path("/tmp/unt0ld")).save(called(FolderStage, name))
    assert register(name) == {
        "mysql-source": f"replaces sqlite-source/{name}-source, of which nothing is kept",
        "s3-stage": f"replaces folder-stage/{name}-stage, of which nothing is kept",
        "redshift-warehouse": "",
    }
    assert called(SQLiteSource, name) not in saved_names(SQLiteSource)
    assert called(FolderStage, name) not in saved_names(FolderStage)


def test_what_does_not_fit_this_version_is_replaced_whole_and_its_fields_are_named(
    name: str,
) -> None:
    register(name)
    set_in_the_ui(S3Stage, name, server_side_encryption="unt0ld", prefix="stage")
    set_in_the_ui(MySQLSource, name, port="unt0ld", user=None, batch_rows=9)
    assert register(name) == {
        "mysql-source": "replaced whole, what was stored does not fit (port)",
        "s3-stage": "replaced whole, what was stored does not fit (server_side_encryption)",
        "redshift-warehouse": "",
    }
    stage, source = load(S3Stage, name), load(MySQLSource, name)
    assert (stage.server_side_encryption, stage.prefix) == (None, "")
    assert (source.port, source.batch_rows) == (3306, 65_536)


def test_a_stored_field_that_does_not_fit_costs_nothing_where_the_environment_names_it(
    name: str,
) -> None:
    register(name)
    set_in_the_ui(MySQLSource, name, user=None, batch_rows=9)
    assert register(name)["mysql-source"] == "kept as stored: batch_rows"


def test_when_a_setting_is_missing_nothing_is_changed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(name)
    monkeypatch.delenv("FERRY_WAREHOUSE_HOST")
    monkeypatch.setenv("FERRY_MYSQL_USER", "another")
    with pytest.raises(ConfigurationError):
        registration.register("aws")
    assert load(MySQLSource, name).user == "reader"


def test_which_messages_a_webhook_sends_stays_as_it_was_set(name: str) -> None:
    SlackWebhook(url=SecretStr(WEBHOOK.replace("hooks.", "other.")), notify_type="warning").save(
        name
    )
    try:
        merged = with_stored(SlackWebhook(url=SecretStr(WEBHOOK)), name)
    finally:
        cast(Any, SlackWebhook).delete(name)
    assert merged.notes == ("changed: url", "kept as stored: notify_type")
    assert isinstance(merged.block, SlackWebhook)
    assert merged.block.url.get_secret_value() == WEBHOOK
    assert merged.block.notify_type == "warning"
