"""The client by which an S3 stage asks: made of its credentials, and kept for some minutes.

What keys it was made with it keeps, also where others have been written to a file meanwhile.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from botocore import UNSIGNED  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import NoCredentialsError  # type: ignore[import-untyped]

from blocks.little_memory import without_ecs_worker
from blocks.stages.s3_errors import keys_are_refused
from ferry.errors import ConfigurationError, FerryError

with without_ecs_worker():
    from prefect_aws import AwsCredentials

CLIENT_SECONDS = 600
"""Clients are made anew every ten minutes: the keys of an assumed role expire, and stay in one."""


class _Asking(Protocol):
    credentials: AwsCredentials


S = TypeVar("S", bound=_Asking)
P = ParamSpec("P")
R = TypeVar("R")


def with_new_keys(ask: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Lets a stage ask once more, with keys looked up anew, where those that it had are refused."""

    @wraps(ask)
    def asked(stage: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return ask(stage, *args, **kwargs)
        except FerryError as error:
            refused = keys_are_refused(error.__cause__)
            if not (refused and keys_are_renewed(stage.credentials)):
                raise
        new_client.cache_clear()
        return ask(stage, *args, **kwargs)

    return asked


def keys_are_renewed(credentials: AwsCredentials) -> bool:
    """Whether other keys may be there later: of a file, a program or a role.

    Those of the block, and of the environment, this process has for as long as it lives; a role
    that is assumed by the environment's gives others.
    """
    of_environment = os.environ.get("AWS_ACCESS_KEY_ID") and not credentials.profile_name
    lasting = of_environment and not credentials.assume_role_arn
    return not (credentials.aws_access_key_id or lasting)


@lru_cache(maxsize=8)
def new_client(
    credentials: AwsCredentials,
    connect_timeout_seconds: float,
    read_timeout_seconds: float,
    max_attempts: int,
    _age: int,
) -> Any:
    """A client of these credentials and timeouts, which threads may share.

    Args:
        credentials: What they set themselves wins.
        connect_timeout_seconds: How long it waits for a connection.
        read_timeout_seconds: How long it waits for the next bytes.
        max_attempts: How often it tries a request.
        _age: Another number, another client: see `CLIENT_SECONDS`.

    Raises:
        ConfigurationError: The endpoint is no URL.
        NoCredentialsError: There are no keys, or not yet.
    """
    config = Config(
        connect_timeout=connect_timeout_seconds,
        read_timeout=read_timeout_seconds,
        retries={"mode": "standard", "total_max_attempts": max_attempts},
    )
    settings = credentials.aws_client_parameters.get_params_override()
    settings["config"] = config.merge(settings["config"]) if "config" in settings else config
    settings = {"region_name": credentials.region_name, **settings}
    try:
        session = credentials.get_boto3_session()
        # A client keeps what it was made with, even nothing; an error is not kept in the cache.
        if settings["config"].signature_version is not UNSIGNED and not session.get_credentials():
            raise NoCredentialsError
        client = session.client("s3", **settings)
    except ValueError as error:  # an endpoint that is no URL
        raise ConfigurationError(
            "AWS's client refuses the settings", todo="Check the endpoint of the credentials."
        ) from error
    client.meta.events.register("before-parameter-build.s3.UploadPart", _checksum_in_front)
    return client


def _checksum_in_front(params: dict[str, Any], **_: Any) -> None:
    """Give a piece its SHA-256 in a header, as `_put` does.

    Over TLS, boto would send it behind the content, which not every server that speaks S3 knows:
    they take small files, and call the first large one wrongly signed, cut or without a length.
    https://github.com/boto/botocore/issues/3352
    """
    if params.pop("ChecksumAlgorithm", None) == "SHA256":
        piece, digest = params["Body"], hashlib.sha256()
        while block := piece.read(1 << 20):
            digest.update(block)
        piece.seek(0)
        params["ChecksumSHA256"] = base64.b64encode(digest.digest()).decode()
