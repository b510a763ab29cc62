"""build-summary: build a summary, or all that read a table; publish what passes its checks."""

from __future__ import annotations

from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed

from ferry.errors import RequestError
from ferry.specs.tables_file import TableSpecs
from ferry.summaries.files import Summaries
from ferry.summaries.partitions import Span, asked_span, check_begun
from ferry.summaries.specs import SummarySpec
from flows.pipeline.given_dates import Day
from flows.pipeline.make_batch import scheduled_start
from flows.pipeline.notify import notify
from flows.pipeline.summaries.publish import BuildRequest, publish_summaries
from flows.pipeline.summaries.specs import load_summaries
from flows.pipeline.table_specs import load_table_specs
from tasks.step import explains


def _run_name() -> str:
    given = flow_run.parameters
    what = given.get("summary") or f"all that read {given.get('table')}"
    return f"build {what}" + (f" {given['start_date']}" if given.get("start_date") else "")


@flow(
    name="build-summary",
    persist_result=False,
    flow_run_name=_run_name,
    on_failure=[notify],
    on_crashed=[notify],
)
@explains
def build_summary(
    summary: str | None = None,
    table: str | None = None,
    start_date: Day | None = None,
    end_date: Day | None = None,
    accept: list[str] | None = None,
) -> Any:
    """Build a summary aside, check it, and publish it in one transaction.

    Summaries that read it follow, for the partitions that changed. A check that fails leaves what
    is published as it was.

    Args:
        summary: Name of the summary, as its folder's, or its table's.
        table: Instead of a summary: build all those that read this table, which was changed by
            somebody else than Ferry. By its name in the table specs, or as schema.table, which may
            be in none. One that nobody knows is refused.
        start_date: Build only from this day on, together with `end_date`; without both, everything
            is built. Whole partitions are built. A day that has not begun is refused.
        end_date: Build up to, but not including, this day, together with `start_date`.
        accept: Names of checks whose failure is let pass this once; not of summaries that follow.

    Returns:
        The publications by the summaries' names.

    Raises:
        RequestError: A summary, a table or a check that there is not, or dates that cannot be. No
            retry helps.
    """
    summaries, tables = load_summaries(), load_table_specs()
    table = None if table is None else _full_name(table, tables, summaries)
    chosen = _chosen(summaries, summary, table)
    _refuse_unknown(chosen, accept or [])
    accepted = tuple(accept or ())
    requests = [
        BuildRequest(
            spec, _asked(spec, start_date, end_date, tables), accepted, by_person=table is None
        )
        for spec in chosen
    ]
    after = summaries.reached_from((s.warehouse, str(s.target)) for s in chosen)
    requests += [BuildRequest(spec) for spec in after if spec not in chosen]
    topological = list(summaries.values())
    requests.sort(key=lambda each: topological.index(each.spec))
    changed = [table] if table else []
    broken = summaries.broken_from([*changed, *(str(each.spec.target) for each in requests)])
    published = publish_summaries(requests, summaries, tables, broken)
    if published.failures:
        asked = len(requests) + len(broken)
        return published.failed(f"{len(published.failures)} of {asked} summaries failed:")
    done = "; ".join(map(str, published.publications)) or f"no summary reads {table}"
    names = {str(spec.target): spec.name for spec in summaries.values()}
    return Completed(
        message=done,
        data={names[each.summary]: each for each in published.publications},
    )


def _chosen(summaries: Summaries, summary: str | None, table: str | None) -> list[SummarySpec]:
    if (summary is None) == (table is None):
        raise RequestError(
            "a run takes a summary or a table",
            found=f"summary={summary}, table={table}",
            todo="Give one of them.",
        )
    if summary is not None:
        return [summaries.named(summary)]
    return [spec for spec in summaries.values() if table in spec.reads]


def _full_name(table: str, tables: TableSpecs, summaries: Summaries) -> str:
    """The table as summaries name what they read: in small letters, with its schema.

    Raises:
        RequestError: It is in no table spec, and with its schema no summary reads it either.
    """
    if table and "." not in table:
        return str(tables.named(table).target)
    name = table.lower()
    read = {each for spec in summaries.values() for each in spec.reads}
    own = {str(spec.target) for spec in tables.values()}
    own |= {str(spec.target) for spec in summaries.values()}
    if name in read | own or summaries.broken_from([name]):
        return name
    meant = get_close_matches(name.strip(), sorted(read | own), n=1)
    raise RequestError(
        f"there is no table {table!r} in the table specs, and no summary reads it",
        expected="a table that summaries read: " + (", ".join(sorted(read)) or "none at all"),
        todo=(f"Did you mean {meant[0]}? " if meant else "")
        + "Correct the parameter `table`: a name of the table specs, or schema.table.",
    )


def _asked(
    spec: SummarySpec, start_date: date | None, end_date: date | None, tables: TableSpecs
) -> Span:
    """The span that a person asked for; days that have not begun yet are refused."""
    by = spec.partition.by if spec.partition and spec.publish == "by_window" else None
    try:
        span = asked_span(start_date, end_date, by)
        read = [each for each in tables.values() if str(each.target) in spec.reads]
        zones = {spec.zone, *(each.wall_clock_zone for each in read)}
        check_begun(span, zones, min(scheduled_start(), datetime.now(UTC)))
    except RequestError as error:
        raise error.at(table=str(spec.target)) from None
    return span


def _refuse_unknown(chosen: list[SummarySpec], accepted: list[str]) -> None:
    checks = [each for spec in chosen for each in (*spec.input_check, *spec.output_check)]
    labels = {each.label for each in checks}
    unknown = sorted(set(accepted) - labels)
    if unknown:
        raise RequestError(
            f"no check is called {', '.join(map(repr, unknown))}",
            expected=f"one of {', '.join(sorted(labels)) or 'none at all'}",
            todo="Only a summary's own checks can be let pass, by the names that messages tell.",
        )
