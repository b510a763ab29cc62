"""Registers the blocks that the names in the table specs stand for; safe to run again.

    python -m deployments.register --profile embedded|local|aws

`embedded` is a SQLite file, a folder and a DuckDB file in FERRY_DATA (default `.ferry/demo`).
`local` and `aws` are MySQL, S3 and Redshift as FERRY_MYSQL_*, FERRY_S3_* and FERRY_WAREHOUSE_*
say (`_mysql`, `_s3` and `_redshift` below list them); `make stack` sets them for its own servers.
In AWS leave out FERRY_S3_ENDPOINT, and the keys where the machine's role gives access.
Prices come from FERRY_PRICES_URL, for the symbols in FERRY_PRICES_SYMBOLS; without them there is no
such block, but for `embedded`, which looks for `python -m deployments.local.price_api`.

With FERRY_NOTIFY_SLACK_URL, a Slack webhook's address, the block `slack-webhook/ferry` is saved
too, for FERRY_NOTIFY=slack-webhook/ferry (docs/notifications.md). By that block, or by the one that
FERRY_NOTIFY names, the server itself tells when nobody watches the runs any more: the watch has no
worker, or completes no run.

Secrets come from the environment and are stored encrypted by the Prefect server. Blocks of the
same names can as well be made in the UI. Of a block that is there already only the fields that the
environment names are changed; what people have set in the others stays (`kept_fields`).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import httpx
from prefect.blocks.core import Block
from prefect_aws import AwsCredentials
from prefect_aws.client_parameters import AwsClientParameters
from pydantic import BaseModel, SecretStr, ValidationError

from blocks.notifier import slack_webhook
from blocks.sources import SOURCES, MySQLSource, PriceAPISource, SQLiteSource
from blocks.stages import STAGES, FolderStage, S3Stage
from blocks.warehouses import WAREHOUSES, DuckDBWarehouse, RedshiftWarehouse
from deployments.kept_fields import with_stored
from deployments.leases import free_places, free_turns, history_warning, lease_warning
from deployments.no_worker import (
    forget_former_watch,
    nobody_watches_yet,
    register_nobody_watches,
)
from deployments.reader_limits import register_limits
from deployments.silent_watch import muted_messages, register_silent_watch
from ferry.errors import ConfigurationError, may_pass
from ferry.settings import check_settings, notifier_name
from flows.pipeline.table_specs import load_table_specs
from tasks.places.readers import backfill_limit, readers_limit

SOURCE, STAGE, WAREHOUSE, PRICES = "shop", "lake", "warehouse", "prices"
NOT_WITHOUT = {
    "FERRY_S3_SECRET_KEY": "FERRY_S3_ACCESS_KEY",
    "FERRY_PRICES_SYMBOLS": "FERRY_PRICES_URL",
}
"""Settings that are looked at only where another one is set, but for `embedded`."""

M = TypeVar("M", bound=BaseModel)


def register(profile: str) -> list[str]:
    """Save the profile's blocks, and the one that notifies; returns them as `slug/name`.

    With each, which fields stay as they are stored, since the environment does not name them. A
    block of the same name and another kind, from another profile, is removed: a name in a spec
    stands for one system.

    Raises:
        ConfigurationError: A setting is missing or wrong, or the table specs, which name sources.
    """
    check_settings(os.environ)
    _refuse_idle(profile)
    slack, notifier = _slack(), notifier_name(os.environ)  # before anything is saved
    sources = _sources()
    # Whoever registers a new password need not know how many were to read.
    readers = _number("FERRY_READERS") if "FERRY_READERS" in os.environ else None
    folder = Path(os.environ.get("FERRY_DATA", ".ferry/demo")).resolve()
    blocks: dict[str, Block] = (
        {
            SOURCE: SQLiteSource(path=str(folder / "source.sqlite")),
            STAGE: FolderStage(path=folder / "stage"),
            WAREHOUSE: DuckDBWarehouse(path=folder / "warehouse.duckdb"),
        }
        if profile == "embedded"
        else {SOURCE: _mysql(), STAGE: _s3(), WAREHOUSE: _redshift()}
    )
    for kind in (*SOURCES, *STAGES, *WAREHOUSES):
        kind.register_type_and_schema()
    names = []
    roles: list[tuple[str, Sequence[type[Block]]]] = [
        (SOURCE, SOURCES),
        (STAGE, STAGES),
        (WAREHOUSE, WAREHOUSES),
    ]
    if profile == "embedded" or "FERRY_PRICES_URL" in os.environ:
        blocks[PRICES] = _prices()
        roles.append((PRICES, SOURCES))
    for name, kinds in roles:
        others = [other for other in kinds if not isinstance(blocks[name], other)]
        names.append(_save(blocks[name], name, others))
    if slack:
        names.append(_save(slack, "ferry"))
    # An embedded server lives no longer than its only process: nobody's death goes unseen.
    watched = profile != "embedded"
    notifier = notifier or ("slack-webhook/ferry" if slack else None)
    names += register_guards(sources, readers, notifier=notifier if watched else None)
    return names


def register_guards(
    sources: Sequence[str], readers: int | None, *, notifier: str | None = None
) -> list[str]:
    """Register the limits on the readers of each source, and what watches the watch.

    Args:
        sources: The names of the source blocks.
        readers: How many read from each at once; None for as many as the last time.
        notifier: The notification block; None if the server is to tell nobody.

    Returns:
        The names of what was registered.
    """
    names = [name for source in sources for name in register_limits(source, readers)]
    forget_former_watch()
    if notifier:
        names += [register_nobody_watches(notifier), *register_silent_watch(notifier)]
    return names


def free_what_nobody_holds() -> list[str]:
    """Give back places among readers and turns of deployments; returns what was done, in lines."""
    limits = [name(source) for source in _sources() for name in (readers_limit, backfill_limit)]
    return free_places(limits) + free_turns()


def _sources() -> list[str]:
    """The sources that are read: those that the table specs name, and ours."""
    return sorted({SOURCE, *(spec.source for spec in load_table_specs().values())})


def _refuse_idle(profile: str) -> None:
    """Refuse a setting that would do nothing, or something else, as it is set.

    Raises:
        ConfigurationError: There is one; the message says which, and no value.
    """
    if profile == "embedded":
        if "FERRY_DATA" in os.environ and not os.environ["FERRY_DATA"].strip():
            raise ConfigurationError(  # it would be the current folder
                "FERRY_DATA is set and empty", todo="Unset it, or name a folder."
            )
        return
    for name, needed in NOT_WITHOUT.items():
        if os.environ.get(name) and needed not in os.environ:
            raise ConfigurationError(
                f"{name} is set, and {needed} is not", todo=f"Set {needed}, too, or unset {name}."
            )


def _save(block: Block, name: str, others: Sequence[type[Block]] = ()) -> str:
    """Save it in place of one of another kind; returns its `slug/name` and what there is to say."""
    merged = with_stored(block, name)
    notes = list(merged.notes)
    for kind in others:
        if _delete(kind, name):
            notes.append(f"replaces {kind.get_block_type_slug()}/{name}, of which nothing is kept")
    merged.block.save(name, overwrite=True)
    line = f"{type(block).get_block_type_slug()}/{name}"
    return f"{line}: {'; '.join(notes)}" if notes else line


def _delete(kind: type[Block], name: str) -> bool:
    try:
        kind.delete(name)
    except ValueError:  # there is none of that name
        return False
    return True


def _slack() -> Block | None:
    address = os.environ.get("FERRY_NOTIFY_SLACK_URL", "").strip()
    try:
        return slack_webhook(address) if address else None
    except ConfigurationError as error:
        error.problem = f"FERRY_NOTIFY_SLACK_URL: {error.problem}"
        raise


def _named(model: M, **settings: str) -> M:
    """The model, in which fields whose setting is not named do not count as set: they are defaults.

    Args:
        model: As the settings and their defaults make it.
        settings: The fields that need not be named, and the setting of each.
    """
    model.model_fields_set.difference_update(
        field for field, setting in settings.items() if setting not in os.environ
    )
    return model


def _mysql() -> MySQLSource:
    source = MySQLSource(
        host=_setting("FERRY_MYSQL_HOST"),
        port=_number("FERRY_MYSQL_PORT", "3306"),
        user=_setting("FERRY_MYSQL_USER"),
        password=SecretStr(_setting("FERRY_MYSQL_PASSWORD")),
        database=_setting("FERRY_MYSQL_DATABASE"),
        ca_path=os.environ.get("FERRY_MYSQL_CA"),
    )
    return _named(source, port="FERRY_MYSQL_PORT", ca_path="FERRY_MYSQL_CA")


def _prices() -> PriceAPISource:
    made_up = "FERRY_PRICES_URL" not in os.environ
    symbols = _setting("FERRY_PRICES_SYMBOLS", "AAPL,MSFT,SAP.DE,7203.T" if made_up else None)
    return PriceAPISource(
        base_url=_setting("FERRY_PRICES_URL", "http://127.0.0.1:18090" if made_up else None),
        symbols=[symbol for symbol in symbols.split(",") if symbol.strip()],
    )


def _s3() -> S3Stage:
    endpoint = os.environ.get("FERRY_S3_ENDPOINT")
    keys = "FERRY_S3_ACCESS_KEY" in os.environ
    credentials = AwsCredentials(
        aws_access_key_id=_setting("FERRY_S3_ACCESS_KEY") if keys else None,
        aws_secret_access_key=SecretStr(_setting("FERRY_S3_SECRET_KEY")) if keys else None,
        aws_session_token=None,  # one that is stored belongs to the keys that are stored
        region_name=os.environ.get("FERRY_S3_REGION", "us-east-1"),
        aws_client_parameters=AwsClientParameters(
            endpoint_url=endpoint, config={"s3": {"addressing_style": "path"}}
        )
        if endpoint
        else AwsClientParameters(endpoint_url=None),
    )
    _named(
        credentials,
        aws_access_key_id="FERRY_S3_ACCESS_KEY",
        aws_secret_access_key="FERRY_S3_ACCESS_KEY",  # the name of a setting
        aws_session_token="FERRY_S3_ACCESS_KEY",
        region_name="FERRY_S3_REGION",
        aws_client_parameters="FERRY_S3_ENDPOINT",
    )
    return S3Stage(bucket_name=_setting("FERRY_S3_BUCKET"), credentials=credentials)


def _redshift() -> RedshiftWarehouse:
    warehouse = RedshiftWarehouse(
        host=_setting("FERRY_WAREHOUSE_HOST"),
        port=_number("FERRY_WAREHOUSE_PORT", "5439"),
        user=_setting("FERRY_WAREHOUSE_USER"),
        password=SecretStr(_setting("FERRY_WAREHOUSE_PASSWORD")),
        database=_setting("FERRY_WAREHOUSE_DATABASE"),
        iam_role=_setting("FERRY_WAREHOUSE_IAM_ROLE", "default"),
        region=os.environ.get("FERRY_S3_REGION"),
        sslrootcert=os.environ.get("FERRY_WAREHOUSE_CA"),
    )
    return _named(
        warehouse,
        port="FERRY_WAREHOUSE_PORT",
        iam_role="FERRY_WAREHOUSE_IAM_ROLE",
        region="FERRY_S3_REGION",
        sslrootcert="FERRY_WAREHOUSE_CA",
    )


def _setting(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, default)
    if not value:
        raise ConfigurationError(f"the setting {name} is missing", todo=f"Set it: {name}=…")
    return value


def _number(name: str, default: str | None = None) -> int:
    value = _setting(name, default)
    if not value.isdecimal() or not int(value):
        raise ConfigurationError(
            f"the setting {name} is no number that can be taken",
            expected="a whole number, 1 or more",
            todo="It is a link to a service of Kubernetes: say `enableServiceLinks: false` in the "
            "pod's spec, or set it there."
            if value.startswith("tcp://")
            else f"Correct {name}.",
        )
    return int(value)


def main() -> None:
    """Register the blocks of the profile named on the command line."""
    parser = argparse.ArgumentParser(description="Register Ferry's blocks with Prefect.")
    parser.add_argument("--profile", choices=("embedded", "local", "aws"), required=True)
    profile = parser.parse_args().profile
    try:
        _say([f"registered {name}" for name in register(profile)])
        if profile != "embedded":  # whose server lives no longer than its only process
            _say(free_what_nobody_holds())
            warnings = (lease_warning(), history_warning(), nobody_watches_yet(), muted_messages())
            for warning in filter(None, warnings):
                sys.stderr.write(f"WARNING: {warning}\n")
    except ConfigurationError as error:
        sys.exit(str(error))
    except ValidationError as error:  # its text holds the values, as its chain would
        problems = error.errors(include_input=False, include_context=False, include_url=False)
        fields = ", ".join(".".join(map(str, each["loc"])) for each in problems)
        sys.exit(f"{error.title}: settings that do not fit: {fields}")
    except httpx.HTTPStatusError as error:  # its text holds what was sent: a block's fields
        status = error.response.status_code
        if may_pass(status):
            sys.exit(f"Prefect's server could not do it: HTTP {status}. Register once more.")
        sys.exit(
            f"Prefect's server refuses it: HTTP {status}. See that its version is that of Prefect "
            "here, and that this machine may change blocks there."
        )


def _say(lines: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    main()
