"""Amazon Redshift as a warehouse: it fetches the staged files from S3 by itself, by COPY."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

import psycopg2
import psycopg2.extensions
from psycopg2 import sql
from pydantic import Field

from blocks.postgres.errors import ferry_error, translated
from blocks.postgres.session import (
    CASTS,
    SYSTEM_COLUMNS,
    Connection,
    PostgresSession,
    PostgresTransaction,
)
from blocks.stage import Stage
from blocks.warehouses.information_schema import StandardCatalog
from blocks.warehouses.postgres.views import bound_views
from blocks.warehouses.redshift import types as redshift_types
from blocks.warehouses.redshift.fingerprint import RedshiftFingerprint
from blocks.warehouses.redshift.held import constraints, held_columns
from blocks.warehouses.redshift.load_errors import load_error, parquet_misfit
from blocks.warehouses.redshift.s3_refusals import s3_refusal
from ferry.batch import FileLayout, Staged, StageFormat
from ferry.capabilities import Capabilities
from ferry.errors import AccessError, ConfigurationError, FatalError, SchemaError
from ferry.fingerprints.dialect import SumDialect
from ferry.schema import Column, DataType, Kind, TableName, TableSchema
from ferry.statements import PARAM, Statement, Transaction, quoted, table_sql
from ferry.target.declared_key import DeclaredKey
from ferry.target.retype import HeldColumns, View

# No value that could be in the data is ever taken for NULL: the marker is made for the run. Off:
# what changes data silently (ACCEPTINVCHARS, ACCEPTANYDATE, EMPTYASNULL, TRUNCATECOLUMNS) and what
# costs time without use for a staging table (COMPUPDATE, STATUPDATE).
# https://docs.aws.amazon.com/redshift/latest/dg/r_COPY.html
_COPY_CSV = """\
COPY {table} ({columns})
FROM {manifest}
IAM_ROLE {role}
{region}MANIFEST
FORMAT AS CSV
NULL AS {null_marker}
ZSTD
TIMEFORMAT 'auto'
DATEFORMAT 'auto'
MAXERROR 0
COMPUPDATE OFF
STATUPDATE OFF"""

# Only these options are taken with columnar files, and the bucket is in the cluster's region.
# https://docs.aws.amazon.com/redshift/latest/dg/copy-usage_notes-copy-from-columnar.html
_COPY_PARQUET = """\
COPY {table} ({columns})
FROM {manifest}
IAM_ROLE {role}
FORMAT AS PARQUET
MANIFEST
STATUPDATE OFF"""

# A TIME in Parquet is not read; text in Parquet becomes a string in SUPER, not JSON.
_NOT_IN_PARQUET = frozenset({Kind.TIME, Kind.JSON})

_DESCRIBE = f"""
SELECT column_name, data_type, character_maximum_length, numeric_precision, numeric_scale,
       is_nullable
FROM svv_columns
WHERE table_name = {PARAM} AND table_schema = {PARAM}
ORDER BY ordinal_position
"""  # noqa: S608
_THERE = f"""
SELECT 1
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relname = {PARAM} AND n.nspname = COALESCE(NULLIF({PARAM}, ''), current_schema())
  AND c.relkind IN ('r', 'v')
"""  # noqa: S608
_SESSION = "SELECT pg_backend_pid(), getdate()"
_VARBYTE = 6551  # pg_type.oid in Redshift; its values come as hex digits
_CASTS = (
    *CASTS,
    psycopg2.extensions.new_type(
        (_VARBYTE,),
        "VARBYTE",
        lambda value, _: None if value is None else bytes.fromhex(str(value)),
    ),
)


class RedshiftWarehouse(PostgresSession, StandardCatalog):
    """An Amazon Redshift cluster or workgroup that tables are loaded into.

    Example:
        ```python
        from blocks.warehouses import RedshiftWarehouse

        warehouse = RedshiftWarehouse(
            host="analytics.abc123.eu-central-1.redshift.amazonaws.com",
            database="analytics",
            user="ferry",
            password="...",
            iam_role="arn:aws:iam::123456789012:role/redshift-reads-the-lake",
        )
        warehouse.save("warehouse")
        print(warehouse.fetch("SELECT count(*) FROM raw_data.nps"))
        ```
    """

    _block_type_name = "Redshift Warehouse"
    _block_type_slug = "redshift-warehouse"
    _description = "An Amazon Redshift database that Ferry loads tables into, through S3."

    fingerprints: ClassVar[SumDialect] = RedshiftFingerprint()
    capabilities: ClassVar[Capabilities] = Capabilities(
        stage_formats=(StageFormat.CSV, StageFormat.PARQUET),
        not_in_parquet=_NOT_IN_PARQUET,
        max_identifier_bytes=127,
        max_text_bytes=redshift_types.MAX_VARCHAR_BYTES,
        max_binary_bytes=redshift_types.MAX_VARBYTE_BYTES,
        max_columns=1600,
        dialect="redshift",
        lock_mode="",  # LOCK TABLE takes no mode; it is ACCESS EXCLUSIVE
        sort_and_dist_keys=True,
        declares_keys=True,
        digests_bytes=False,  # a text of a value's digits ends at 65,535 bytes
        not_grouped=frozenset({Kind.JSON, Kind.BINARY}),  # no page of AWS's says that it does
        pads_text=True,
        widens_text=True,
        # "Empty fields for other data types, such as INT, are always loaded with NULL":
        # https://docs.aws.amazon.com/redshift/latest/dg/copy-parameters-data-conversion.html
        empty_binary_in_csv=False,
        json_digits=38,  # what SUPER makes of longer numbers is unproven
        # https://docs.aws.amazon.com/redshift/latest/dg/r_names.html
        reserved_columns=SYSTEM_COLUMNS | {"oid"},
        parses_json="JSON_PARSE",
        # "Amazon Redshift converts SUPER-related errors to null", and a cast of an object is one:
        # https://docs.aws.amazon.com/redshift/latest/dg/limitations-super.html
        writes_json="JSON_SERIALIZE",
        unbound_view="WITH NO SCHEMA BINDING",
    )
    _casts: ClassVar[tuple[Any, ...]] = _CASTS

    port: int = Field(default=5439, ge=1, le=65535, description="The cluster's TCP port.")
    iam_role: str = Field(
        default="default",
        pattern=r"^(default|arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/:-]+)$",
        description="ARN of the role with which Redshift reads the stage's bucket, or `default` "
        "for the cluster's own default role.",
    )
    region: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]+$",
        description="The bucket's AWS region, if it is not the cluster's.",
    )

    def native_type(self, data_type: DataType) -> str:
        """How Redshift declares the type; see `redshift_types.native_type`."""
        return redshift_types.native_type(data_type)

    def describe(self, table: TableName, tx: Transaction | None = None) -> TableSchema | None:
        """The table's columns and types from the catalog, or None if there is no such table.

        A column of a type that Ferry does not load is there, as `Kind.OTHER`. No key is told:
        Redshift does not enforce any.

        SVV_COLUMNS looks into late-binding views, and waits for whoever holds the tables below.

        Raises:
            AccessError: There is such a table, of which SVV_COLUMNS shows this user nothing.
        """
        fetch = (tx or self).fetch
        # By itself: only the leader node knows that function.
        schema = table.schema or fetch("SELECT current_schema()")[0][0]
        query = Statement(_DESCRIBE, (table.name, schema))
        rows = fetch(query)
        if not rows and fetch(Statement(_THERE, (table.name, table.schema))):
            rows = fetch(query)  # it may have been made in between
            if not rows:
                raise self._may_not_see(table)
        columns = tuple(
            Column(
                name,
                redshift_types.ferry_type(native, *sizes),
                nullable.upper() == "YES",
                redshift_types.declared(native, *sizes),
            )
            for name, native, *sizes, nullable in rows
        )
        return TableSchema(table, columns) if columns else None

    def ignores_case(self) -> bool:
        """Whether the database is one of `COLLATE CASE_INSENSITIVE`.

        https://docs.aws.amazon.com/redshift/latest/dg/r_DB_COLLATION.html
        """
        return str(self.fetch("SELECT db_collation()")[0][0]).lower() != "case_sensitive"

    def _may_not_see(self, table: TableName) -> AccessError:
        name = table_sql(table)
        return AccessError(
            f"the warehouse refuses access: the right SELECT on TABLE {name} is missing",
            todo="Have its owner run: GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE "
            f"{name} TO {quoted(self.user)};",
        )

    def bound_views(self, table: TableName, column: str | None = None) -> tuple[View, ...]:
        """The views over a column, and over these, in the order in which to drop them.

        Late-binding views are not bound to it.
        """
        return bound_views(self.fetch, table, column)

    def held_columns(self, table: TableName) -> HeldColumns:
        """Columns that cannot be dropped, or not be made again as they are, or not be longer."""
        return held_columns(self.fetch, table)

    def declared_key(self, table: TableName) -> DeclaredKey | None:
        """The primary key that CREATE TABLE or ALTER TABLE has declared.

        The planner trusts it: "some queries could return incorrect results" if it is not true.
        https://docs.aws.amazon.com/redshift/latest/dg/t_Defining_constraints.html
        """
        keys = [each for each in constraints(self.fetch, table) if each.kind == "p"]
        return DeclaredKey(keys[0].name, keys[0].columns) if keys else None

    def refuse_stage(self, stage: Stage) -> None:
        """Refuse a stage outside of S3, and one whose files COPY cannot name.

        Raises:
            ConfigurationError: A folder, an access point's ARN for a bucket, a backslash.
            AccessError: A folder that is not there.
        """
        _refuse_uri(stage.uri("manifest.json"))

    def copy_in(
        self,
        staging_table: TableName,
        staged: Staged,
        stage: Stage,  # noqa: ARG002 - Redshift fetches the files by itself
    ) -> int:
        """Have Redshift load the manifest's files into an existing, empty table.

        One COPY in one transaction, so that it is rolled back, not finished, when this process
        dies.

        Returns:
            `pg_last_copy_count()`: the rows that Redshift says it loaded.

        Raises:
            DataError: A value that does not fit, with file, line and column, without the value.
            SchemaError: Parquet with a column that Redshift does not read from it.
            AccessError: The role may not read the bucket, or there is none.
            ConfigurationError: The stage is not in S3, or in another region.
            FatalError: A staged file is gone.
            ConnectionLostError, BusyError: A retry may help (after the table is made again).
        """
        session: tuple[int, datetime] | None = None
        try:
            with self._session(autocommit=False) as connection:
                statement = self._copy_text(connection, staging_table, staged)
                redshift = PostgresTransaction(connection)
                if connection.began is None:
                    pid, started = redshift.fetch(_SESSION)[0]
                    connection.began = (pid, started)
                session = connection.began  # a session in which a COPY failed is not used again
                with connection.cursor() as cursor:
                    self._copy(cursor, statement, staged.layout)
                rows = int(redshift.fetch("SELECT pg_last_copy_count()")[0][0])
                with translated():  # lost at COMMIT is no riddle here: the table is made again
                    connection.commit()
        except FatalError as error:
            if session is None or isinstance(error, AccessError | ConfigurationError):
                raise
            explained = load_error(self, session)
            if explained is None:
                raise
            raise explained from error
        return rows

    def _copy(self, cursor: psycopg2.extensions.cursor, statement: str, layout: FileLayout) -> None:
        try:
            cursor.execute(statement)
        except psycopg2.Error as error:
            of_s3 = s3_refusal(error, self.iam_role, self.user)
            misfit = parquet_misfit(error, [each.name for each in layout.columns])
            explained = ferry_error(error)  # which takes the texts away, whatever is raised
            if type(explained) is FatalError:
                explained = misfit or explained
            raise of_s3 or explained from error

    def _copy_text(self, connection: Connection, table: TableName, staged: Staged) -> str:
        manifest = staged.manifest_uri or ""
        _refuse_uri(manifest)
        layout = staged.layout
        if layout.format is StageFormat.PARQUET:
            _refuse_in_parquet(layout)
        names = (table.schema, table.name) if table.schema else (table.name,)
        template = _COPY_PARQUET if layout.format is StageFormat.PARQUET else _COPY_CSV
        region: sql.Composable = sql.SQL("")
        if self.region:
            region = sql.SQL("REGION {}\n").format(_plain(self.region))
        text = sql.SQL(template).format(
            table=sql.Identifier(*names),
            columns=sql.SQL(", ").join(sql.Identifier(each.name) for each in layout.columns),
            manifest=_plain(manifest),
            role=sql.SQL("DEFAULT") if self.iam_role == "default" else _plain(self.iam_role),
            region=region,
            null_marker=_plain(layout.null_marker),
        )
        return text.as_string(connection)


def _refuse_uri(manifest: str) -> None:
    if not manifest.startswith("s3://"):
        raise ConfigurationError(
            "Redshift loads from S3 only",
            expected="a manifest in S3",
            found=manifest or "no manifest",
            todo="Use an S3 stage with this warehouse.",
        )
    if manifest.startswith("s3://arn:"):
        raise ConfigurationError(
            "Redshift takes no ARN for a bucket",
            found=manifest,
            todo="Set `bucket_name` of the stage block to the access point's alias.",
        )
    if "\\" in manifest:
        raise ConfigurationError(
            "COPY takes no backslash in the name of a file",
            found=manifest,
            todo="Take it out of `prefix` of the stage block.",
        )


def _plain(value: str) -> sql.Composable:
    """A literal as COPY takes it.

    `sql.Literal` would ask the connection how to quote, and Redshift's answer leads to `E'…'`,
    which is no literal to COPY.
    """
    if "\\" in value:  # means itself or not, as the server is set
        raise ConfigurationError("a backslash in the block or in the NULL marker")
    quoted: Any = psycopg2.extensions.QuotedString(value)
    quoted.encoding = "utf8"
    return sql.SQL(quoted.getquoted().decode())


def _refuse_in_parquet(layout: FileLayout) -> None:
    refused = [each.name for each in layout.columns if each.type.kind in _NOT_IN_PARQUET]
    if refused:
        raise SchemaError(
            "Redshift does not read times of day or JSON from Parquet",
            found=f"the columns {', '.join(refused)}",
            todo="Set stage_format to csv in the table's spec.",
        )
