"""What is said where Redshift cannot read the staged files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blocks.stage import Stage
from blocks.stages import FolderStage, S3Stage
from blocks.warehouses import RedshiftWarehouse
from deployments.local.redshift_double import Fault, RedshiftDouble
from ferry.errors import AccessError, BusyError, ConfigurationError, FatalError, FerryError
from ferry.schema import Column, DataType, Kind

ONE = (Column("id", DataType(Kind.INT32)),)
ROLE = "arn:aws:iam::123456789012:role/lake"
SECRET = "s3cr3t"
REFUSED = "S3ServiceException:Access Denied,Status 403,Error AccessDenied,Rid 4F,CanRetry 1"
DETAIL = f"""
  -----------------------------------------------
  error:  {REFUSED}
  code:      8001
  context:   S3 key being read : s3://lake/ferry/raw_data.nps/part-00000.csv.zst
  query:     672099
  location:  table_s3_scanner.cpp:354
  -----------------------------------------------"""
NO_ACTION = (
    "S3ServiceException:User: arn:aws:sts::123456789012:assumed-role/lake/RedshiftIamRoleSession is"
    " not authorized to perform: {} on resource: {} because no identity-based policy allows the {}"
    f" action ({SECRET}),Status 403,Error AccessDenied,Rid 4F,CanRetry 1"
)
NO_KEY = "The specified key does not exist.,Status 404,Error NoSuchKey,Rid 4F"
MAY_READ = f"iam_role.*{ROLE} reads.*s3:GetObject.*s3:ListBucket.*kms:Decrypt"
MAY_TAKE = f"GRANT ASSUMEROLE ON '{ROLE}' TO \"\\w+\" FOR COPY;"


ACCESS_POINT = "arn:aws:s3:eu-central-1:123456789012:accesspoint/ferry"


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        (lambda folder: FolderStage(path=folder), "from S3 only.*Use an S3 stage"),
        (lambda _: S3Stage(bucket_name=ACCESS_POINT), "access point's alias"),
        (lambda _: S3Stage(bucket_name="lake", prefix="team\\x"), "backslash"),
    ],
    ids=["folder", "access point", "backslash"],
)
def test_a_stage_that_redshift_cannot_load_from_is_refused_before_anything_is_read(
    stage: Callable[[Path], Stage], told: str, tmp_path: Path
) -> None:
    warehouse = RedshiftWarehouse(host="h", database="d", user="u", password="p")
    with pytest.raises(ConfigurationError, match=told):
        warehouse.refuse_stage(stage(tmp_path))


@pytest.mark.parametrize("prefix", ["", "ferry/stage"])
def test_any_other_stage_in_s3_is_taken(prefix: str) -> None:
    warehouse = RedshiftWarehouse(host="h", database="d", user="u", password="p")
    warehouse.refuse_stage(S3Stage(bucket_name="lake", prefix=prefix))


CASES: tuple[tuple[str, str, type[FerryError], str], ...] = (
    (REFUSED, DETAIL, AccessError, f"Status 403, Error AccessDenied.*{MAY_READ}.*{MAY_TAKE}"),
    (f"Problem reading manifest file - {REFUSED}", "", AccessError, MAY_READ),
    (
        NO_ACTION.format("s3:GetObject", f'"{SECRET}"', "s3:GetObject"),
        "",
        AccessError,
        f"found s3:GetObject, Status 403.*{MAY_READ}",
    ),
    (
        NO_ACTION.format("kms:Decrypt", f'"{SECRET}"', "kms:Decrypt"),
        "",
        AccessError,
        f"found kms:Decrypt, Status 403.*{MAY_READ}",
    ),
    (
        "User arn:aws:redshift:eu-central-1:123456789012:dbuser:c/ferry is not authorized to"
        f" assume IAM Role {ROLE}",
        "",
        AccessError,
        f"take the role.*redshift.amazonaws.com.*{MAY_TAKE}",
    ),
    (f"Not authorized to get credentials of role {ROLE}", "", AccessError, MAY_TAKE),
    (
        "COPY with MANIFEST parameter requires full path of an S3 object.",
        "",
        AccessError,
        MAY_READ,
    ),
    (
        "S3ServiceException:The specified bucket does not exist,Status 404,Error NoSuchBucket",
        "",
        AccessError,
        "no such bucket.*bucket_name",
    ),
    (
        "S3ServiceException:The S3 bucket addressed by the query is in a different region from"
        " this cluster.,Status 301,Error PermanentRedirect,Rid 4F,CanRetry 1",
        "",
        ConfigurationError,
        "another region.*Status 301.*`region` of the warehouse block.*Parquet",
    ),
    (
        f"S3ServiceException:{NO_KEY},CanRetry 1",
        DETAIL.replace(REFUSED, NO_KEY),
        FatalError,
        r"is gone.*s3://lake/ferry/raw_data\.nps/part-00000\.csv\.zst.*again.*lifecycle rules",
    ),
    (
        f"The specified S3 prefix '{SECRET}' does not exist",
        "",
        FatalError,
        "is gone.*lifecycle rules",
    ),
    ("S3ServiceException:Reduce your rate,Status 503,Error SlowDown", "", BusyError, "503"),
    *(
        (
            f"{read}S3ServiceException:Not now,Status 400,Error {error},Rid 4F,CanRetry 1",
            "",
            BusyError,
            f"S3 or KMS slows.*Status 400, Error {error}",
        )
        for read in ("", "Problem reading manifest file - ")
        for error in ("ThrottlingException", "RequestTimeout", "SlowDown")
    ),
    (
        "S3ServiceException:The token has expired.,Status 400,Error ExpiredToken,Rid 4F",
        "",
        BusyError,
        "role's session ended during COPY.*Status 400, Error ExpiredToken.*session",
    ),
    (
        "S3ServiceException:The operation is not valid for the object's storage class,Status 403,"
        "Error InvalidObjectState,Rid 4F,CanRetry 1",
        "",
        FatalError,
        "archive.*Error InvalidObjectState.*lifecycle rules",
    ),
    (
        "S3ServiceException:The key is disabled.,Status 400,Error KMS.DisabledException,Rid 4F",
        "",
        AccessError,
        "S3 refuses.*Error KMS.DisabledException",
    ),
    (
        "S3ServiceException:Bad Request,Status 400,Error InvalidRequest,Rid 4F,CanRetry 1",
        "",
        AccessError,
        f"S3 refuses.*Status 400, Error InvalidRequest.*iam_role.*{ROLE}",
    ),
    (
        "S3CurlException: Connection timed out after 50001 milliseconds, CurlError 28, "
        f"multiCurlError 0, CanRetry 1, UserError 0 ({SECRET})",
        DETAIL.replace(REFUSED, "S3CurlException").replace("part-00000.csv.zst", "manifest.json"),
        BusyError,
        "does not reach S3.*S3 endpoint",
    ),
    *(
        (
            "Spectrum Scan Error",
            DETAIL.replace(REFUSED, "Spectrum Scan Error").replace("8001", code)
            + f"\n  context:   {context}",
            kind,
            told,
        )
        for code, context, kind, told in (
            ("15001", "Retries exceeded", BusyError, "does not reach S3, or is slowed down"),
            ("15007", "Access throttled", BusyError, "does not reach S3, or is slowed down"),
            (
                "15007",
                "Forbidden: HTTP response error code: 403 Message: AccessDenied Access Denied",
                AccessError,
                MAY_READ,
            ),
        )
    ),
    (f"Some text that nobody knows: {SECRET}", "", FatalError, "refuses the statement"),
)


def test_why_redshift_cannot_read_the_staged_files_is_told_by_what_to_change(
    redshift_engine: Any, redshift_double: RedshiftDouble
) -> None:
    table = redshift_engine.create(ONE)
    staged = redshift_engine.stage_rows(ONE, [(1,)])
    warehouse = redshift_engine.warehouse.model_copy(update={"iam_role": ROLE})
    for message, detail, kind, told in CASES:
        redshift_double.inject(Fault("ddl_conflict", "^COPY", message=message, detail=detail))
        with pytest.raises(kind) as caught:
            warehouse.copy_in(table, staged, redshift_engine.stage)
        assert type(caught.value) is kind, message
        assert re.search(told, str(caught.value)), str(caught.value)
        assert "user, password" not in str(caught.value)
        assert SECRET not in f"{caught.value} {caught.value.__cause__}"


def test_the_clusters_default_role_is_named_so(
    redshift_engine: Any, redshift_double: RedshiftDouble
) -> None:
    table = redshift_engine.create(ONE)
    staged = redshift_engine.stage_rows(ONE, [(1,)])
    warehouse = redshift_engine.warehouse.model_copy(update={"iam_role": "default"})
    redshift_double.inject(Fault("ddl_conflict", "^COPY", message=REFUSED))
    with pytest.raises(AccessError, match=r"default role reads .* ASSUMEROLE ON DEFAULT TO"):
        warehouse.copy_in(table, staged, redshift_engine.stage)
