"""Why Redshift could not read the staged files in S3: told by what has to be changed.

Texts: https://docs.aws.amazon.com/redshift/latest/dg/s3serviceexception-error.html, of Parquet
https://docs.aws.amazon.com/redshift/latest/dg/c-spectrum-troubleshooting.html
"""

from __future__ import annotations

import re

import psycopg2

from ferry.errors import AccessError, BusyError, ConfigurationError, FatalError, FerryError
from ferry.statements import quoted

_ROLE = "{role} reads the bucket for COPY, not the block's user"
_ATTACHED = "attach the role to the cluster and let it trust redshift.amazonaws.com"
_ALLOWED = (
    "allow it s3:GetObject on the stage's prefix, s3:ListBucket on the bucket, and kms:Decrypt"
    " where a key of your own encrypts"
)
_GRANTED = "where not everybody may use roles: GRANT ASSUMEROLE ON {granted} TO {user} FOR COPY;"

# In the order of precedence: a text, the error, what is wrong, what to do. A manifest that Redshift
# may not read is reported as one without its "full path", too.
_REFUSALS: tuple[tuple[re.Pattern[str], type[FerryError], str, str], ...] = (
    (
        re.compile(r"Spectrum Scan Error.*(?:\b403\b|Access ?Denied|Forbidden)", re.I | re.DOTALL),
        AccessError,
        "Redshift may not read the staged files",
        f"Check `iam_role` of the warehouse block: {_ROLE}; {_ALLOWED}; {_GRANTED}",
    ),
    (
        re.compile(
            r"S3CurlException|Curl ?Error|Spectrum Scan Error.*(?:Retries exceeded|throttled)",
            re.IGNORECASE | re.DOTALL,
        ),
        BusyError,
        "Redshift does not reach S3, or is slowed down by it",
        "Try again later. If it comes back, look at the way from the cluster to S3: with enhanced"
        " VPC routing it needs an S3 endpoint, or a way out, in its VPC.",
    ),
    (
        re.compile(r"S3ServiceException.*(?:Throttl|RequestTimeout|SlowDown)", re.I | re.DOTALL),
        BusyError,
        "S3 or KMS slows Redshift down, or does not answer it in time",
        "Try again later; if it comes back, carry less at once, or have the quota of requests"
        " raised: KMS has one for the whole account.",
    ),
    (
        re.compile(r"S3ServiceException.*Expired ?Token", re.IGNORECASE | re.DOTALL),
        BusyError,
        "the role's session ended during COPY",
        "Try again: the next COPY gets a new session. If it comes back, raise the role's maximum"
        " session duration, or carry less at once.",
    ),
    (
        re.compile(r"Status 301\b|PermanentRedirect|in a different region", re.IGNORECASE),
        ConfigurationError,
        "the staged files are in another region than Redshift looks in",
        "Set `region` of the warehouse block to the bucket's region. Parquet is read only from a"
        " bucket in the cluster's own region: use one there, or stage_format csv.",
    ),
    (
        re.compile(r"NoSuchBucket", re.IGNORECASE),
        AccessError,
        "Redshift finds no such bucket",
        "Check `bucket_name` of the stage block, and that the cluster reaches the same S3.",
    ),
    (
        re.compile(r"InvalidObjectState", re.IGNORECASE),
        FatalError,
        "a staged file was moved to an archive",
        "Carry the window again. Look at the lifecycle rules of the stage's bucket: they have to"
        " leave out its prefix, or to wait for longer than a batch and its retries take.",
    ),
    (
        re.compile(r"not authorized to (?:assume|get credentials)", re.IGNORECASE),
        AccessError,
        "Redshift may not take the role that reads the staged files",
        f"Check `iam_role` of the warehouse block: {_ROLE}; {_ATTACHED}; {_ALLOWED}; {_GRANTED}",
    ),
    (
        re.compile(
            r"S3ServiceException.*(?:Status 40[13]\b|Access ?Denied)|not authorized"
            r"|requires full path of an S3 object",
            re.IGNORECASE | re.DOTALL,
        ),
        AccessError,
        "Redshift may not read the staged files",
        f"Check `iam_role` of the warehouse block: {_ROLE}; {_ALLOWED}; {_GRANTED}",
    ),
    (
        re.compile(r"Status 404\b|NoSuchKey|S3 (?:prefix|object|key)\b.* does not exist", re.I),
        FatalError,
        "a staged file is gone",
        "Carry the window again. Look at the lifecycle rules of the stage's bucket: they have to"
        " keep files longer than a batch and its retries take.",
    ),
    (
        re.compile(r"S3ServiceException.*Status 4\d\d\b", re.IGNORECASE | re.DOTALL),
        AccessError,
        "S3 refuses what Redshift asks of it",
        f"Look the error up in S3's list of error codes; check `region` and `iam_role` of the"
        f" warehouse block: {_ROLE}; {_ALLOWED}",
    ),
)
# What is shown of the text: an action, codes, the file's URI, in which Ferry has put names only.
_SHOWN = re.compile(r"(?<=perform: )\w+:\w+|\b(?:Status \d+|Error \w+(?:\.\w+)*)|s3://[^\s,;'\"]+")


def s3_refusal(error: psycopg2.Error, iam_role: str, user: str) -> FerryError | None:
    """Why COPY could not read S3; None if that is not what went wrong.

    To be called before `ferry_error`, which takes the texts away.

    Args:
        error: What COPY answered.
        iam_role: The block's role, which reads the bucket; `default` for the cluster's own.
        user: Who loads.

    Returns:
        An error of its class, with actions, codes and the file's name out of the text.
    """
    if error.pgcode != "XX000":  # any other may quote values
        return None
    text = f"{error.diag.message_primary or ''}\n{error.diag.message_detail or ''}"
    for pattern, kind, problem, todo in _REFUSALS:
        if pattern.search(text):
            default = iam_role == "default"
            shown = dict.fromkeys(_SHOWN.findall(text))
            return kind(
                problem,
                found=", ".join(shown) or None,
                todo=todo.format(
                    role="the cluster's default role" if default else iam_role,
                    granted="DEFAULT" if default else f"'{iam_role}'",
                    user=quoted(user),
                ),
            )
    return None
