"""The pages of `coverage`, in Markdown.

The calendar stands in a block of code, not in a table: Prefect's pages cut a table of 31 columns
off at the 21st.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from ferry.bounded import MAX_ROWS, first_of
from ferry.coverage.calendar import SIGNS, calendar
from ferry.coverage.days import ONE_DAY, Stretch, TableDays, TableTotals
from ferry.coverage.standings import Status
from ferry.day_ranges import MAX_WINDOWS
from ferry.specs.chosen import asked_as
from tasks.pages.cells import short

ONE_HOUR = timedelta(hours=1)
MAX_STRETCHES = 100
MAX_TABLES = 1_000
"""Lines on the page of all tables; `ferry.coverage` has them all."""


def table_page(table: TableDays) -> str:
    """The page of one table: totals, calendar, and what is to be repaired, with the command."""
    title = f"### {table.spec.target}\n\n"
    if not table.days:
        return f"{title}{short(str(table))}\n"
    first, last = table.days[0].day, table.days[-1].day
    totals = ", ".join(f"{table.count(status):,} {status}" for status in SIGNS)
    if drifted := table.count(Status.DRIFTED):
        totals += f", {drifted:,} {Status.DRIFTED}"
    parts = [
        f"{title}**{totals}** of {len(table.days):,} days, {first} to {last} ({table.zone})",
        f"```\n{calendar(table)}\n```",
        _repairs(table),
        _drifts(table),
        _audited(table),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def overview_page(
    tables: Iterable[TableTotals], untold: dict[str, str], *, whole: bool = True
) -> str:
    """The page of all tables, one line for each.

    Args:
        tables: How they stand.
        untold: Why nothing can be told of the others, by their names.
        whole: Whether all their days are told, not those that were asked for.
    """
    told = (_line(table, whole=whole) for table in tables)
    lines = [
        "| table | days | loaded | missing | failed | drifted | newest gap |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
        *first_of(told, MAX_TABLES, "| and {:,} more tables | | | | | | |"),
        *first_of(
            (f"| {name} | **not told**: {short(why)} | | | | | |" for name, why in untold.items()),
            MAX_ROWS,
            "| and {:,} more | **not told** | | | | | |",
        ),
    ]
    return "\n".join(lines) + "\n"


def _line(table: TableTotals, *, whole: bool) -> str:
    name = f"[{table.spec.target}](/artifacts/key/{artifact_key(table.spec.name, whole=whole)})"
    if not table.first:
        return f"| {name} | {short(table.instead or 'none yet')} | | | | | |"
    shown = (Status.LOADED, Status.MISSING, Status.FAILED, Status.DRIFTED)
    counts = " | ".join(f"{table.count(status):,}" for status in shown)
    gap = table.newest_gap
    newest = f"{gap}, {gap.status}" if gap else ""
    return f"| {name} | {table.first} to {table.last} | {counts} | {newest} |"


def artifact_key(name: str, *, whole: bool = True) -> str:
    """The key under which a table's page is found: small letters, digits and dashes.

    Args:
        name: The table's name.
        whole: Whether it is the page of all its days; one of some days is another page.
    """
    key = "coverage-" + "".join(letter if letter.isalnum() else "-" for letter in name)
    return key if whole else f"selected-{key}"


def _repairs(table: TableDays) -> str:
    stretches = table.to_repair()
    if not stretches:
        return "Nothing is missing, and nothing has failed."
    rows = [
        f"| {each} | {each.days:,} | {each.status} | "
        f"{short(each.reason) or 'no run has carried it'} |"
        for each in reversed(stretches[-MAX_STRETCHES:])
    ]
    more = len(stretches) - MAX_STRETCHES
    rows += [f"| and {more:,} more before them | | | |"] if more > 0 else []
    return (
        "| not loaded | days | | why |\n| --- | ---: | --- | --- |\n"
        + "\n".join(rows)
        + f"\n\n{_how(table, stretches)}"
    )


def _drifts(table: TableDays) -> str:
    """The days that have drifted, and what repairs them."""
    stretches = table.drifted()
    if not stretches:
        return ""
    shown = stretches[-MAX_STRETCHES:]
    rows = [f"| {each} | {each.days:,} | {short(each.reason)} |" for each in reversed(shown)]
    more = len(stretches) - MAX_STRETCHES
    rows += [f"| and {more:,} more before them | | |"] if more > 0 else []
    report = table.spec.hard_deletes == "report"
    command = _command(
        "reconcile",
        table=asked_as(table.spec),
        start_date=str(stretches[0].first),
        end_date=str(stretches[-1].last + ONE_DAY),
        zone=table.zone,
        repair="carry" if report else "all",
    )
    not_all = ", but rows that were deleted at the source (`hard_deletes: report`)"
    head = "| loaded, and not as at the source | days | what differed |\n| --- | ---: | --- |\n"
    return (
        f"{head}{chr(10).join(rows)}\n\nThis repairs them{not_all if report else ''}:\n\n{command}"
    )


def _audited(table: TableDays) -> str:
    """When days were compared with the source; nothing where none was."""
    moments = [each.audited_at for each in table.days if each.audited_at]
    if not moments:
        return ""
    days = f"{len(moments):,} of {len(table.days):,} days"
    return f"Compared with the source: {days}, last on {max(moments):%Y-%m-%d %H:%M} UTC."


def _how(table: TableDays, stretches: Sequence[Stretch]) -> str:
    """What repairs them: exactly them, as the backfill asks the receipts, too.

    Of a table that is carried by the hour, the hours: a day of which one is missing has others that
    are loaded. A backfill takes no more than so many; of more, it carries the whole days, and so it
    does of a watermark, whose cursor may be a date. One without a key takes up all that is missing
    by itself, and a full copy would take out what the source has no more.
    """
    spec = table.spec
    if not spec.key:
        command = _command("sync-table", table=asked_as(spec))
        return f"Without a key no day is carried by itself; a run carries them all:\n\n{command}"
    dates = {
        "table": asked_as(spec),
        "start_date": str(stretches[0].first),
        "end_date": str(stretches[-1].last + ONE_DAY),
        "zone": table.zone,
        "reprocess": "missing",
    }
    how = "and nothing that is loaded"
    if spec.every == "hour":
        hours = (stretches[-1].last - stretches[0].first + ONE_DAY) // ONE_HOUR
        if spec.mode == "window" and hours <= MAX_WINDOWS:
            dates["granularity"] = "hour"
        else:
            how = "as whole days"
    return f"This carries them all, {how}:\n\n{_command('backfill', **dates)}"


def _command(flow: str, **parameters: str) -> str:
    given = [f"--param {name}={value}" for name, value in parameters.items()]
    lines = (" ".join(given[begin : begin + 2]) for begin in range(0, len(given), 2))
    text = " \\\n    ".join([f"prefect deployment run '{flow}/on-demand'", *lines])
    return f"```\n{text}\n```"
