"""copy: the staged files into a fresh staging table of the warehouse."""

from __future__ import annotations

from prefect import task
from prefect.logging import get_run_logger

from blocks.stage import Stage
from blocks.stages.part_files import read_rows
from blocks.warehouse import Warehouse
from ferry import statements as sql
from ferry.batch import STAGING_SCHEMA, Batch, Copied, Staged
from ferry.errors import CountMismatchError
from tasks.step import STEP, located


@task(name="copy", task_run_name="copy {batch}", **STEP)
def copy(batch: Batch, staged: Staged, stage: Stage, warehouse: Warehouse) -> Copied:
    """Load the batch into its staging table: by COPY, or by INSERT when it is a handful of rows.

    Safe to repeat: the staging table is dropped and made again.

    Raises:
        DataError: A value that does not fit, with file, line and column. No retry helps.
        CountMismatchError: The warehouse loaded another number of rows than were staged.
        AccessError: The warehouse may not read the stage. No retry helps.
        ConnectionLostError, BusyError: A retry may help.
    """
    extracted = staged.extract
    with located(batch, "copy"):
        if staged.rows == 0:
            return Copied(None, 0, staged)
        table, capabilities = batch.staging_table, warehouse.capabilities
        warehouse.execute(sql.create_schema(STAGING_SCHEMA))
        warehouse.execute(sql.drop_table(table))
        warehouse.execute(
            sql.create_table(
                table,
                extracted.columns,
                warehouse.native_type,
                kind=capabilities.staging_table_kind,
            )
        )
        if staged.manifest:
            rows = warehouse.copy_in(table, staged, stage)
        else:
            values = list(read_rows(extracted))
            rows = warehouse.execute(
                sql.insert_values(table, extracted.columns, len(values), capabilities.placeholder),
                [value for row in values for value in row],
            )
        if rows != staged.rows:
            raise CountMismatchError(
                "rows in the staging table are not the rows staged",
                expected=staged.rows,
                found=rows,
                todo="Run it again; the target is untouched. If it persists, look at the staged "
                "files with `keep_staged_days`.",
            )
        get_run_logger().info(
            "copy %s: %s rows by %s", batch, f"{rows:,}", "COPY" if staged.manifest else "INSERT"
        )
        return Copied(table, rows, staged)
