"""What `reconcile` shows on its run's page: what was compared, what differs, what was repaired."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

from prefect.artifacts import create_markdown_artifact

from ferry.audits.outcome import DIFFERENCES, Audit, AuditedBucket, Difference
from ferry.bounded import MAX_ROWS, first_of, in_groups
from ferry.day_ranges import DayRange
from ferry.specs.chosen import asked_as, full_copy
from ferry.specs.tables import TableSpec
from tasks.pages.artifacts import cosmetic
from tasks.pages.cells import escaped, short

MAX_KEYS = 50
MAX_CHARACTERS = 100_000
"""Of what differs, table by table; `ferry.audits` has it all."""

_CLASSES = "missing | changed | extra | pending | not looked at"
"""The columns of what differs: not looked at are rows in parts that differ as a whole."""

_NOT_JUDGED = (
    "No column tells when a row changed: what the source changed after the last copy differs, too."
)


def show_audits(
    audits: Mapping[str, Audit],
    specs: Iterable[TableSpec],
    failures: Mapping[str, str],
    left_out: Mapping[str, str],
    repaired: Iterable[str],
) -> None:
    """Put on the run's page what was found.

    Args:
        audits: What was found in the end, by table.
        specs: The tables' specs.
        failures: Why others could not be compared or repaired.
        left_out: Tables that are not compared, with the reason.
        repaired: What was repaired, a line for each table.
    """
    by_table = {str(spec.target): spec for spec in specs}
    found = sorted(audits.values(), key=lambda audit: not (audit.different or audit.left))
    parts = [
        f"| table | compared | rows | {_CLASSES} |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        + "\n".join(first_of(map(_line, found), MAX_ROWS, "| and {:,} more | | | | | | |"))
    ]
    unknown = [
        f"- **{each.table}: not compared**: {short(each.left)}" for each in found if each.left
    ]
    parts += first_of(unknown, MAX_ROWS, "- and {:,} more, not all of which was compared")
    parts += first_of((f"- {done}" for done in repaired), MAX_ROWS, "- and {:,} more")
    parts += first_of(
        (f"- **{name} could not be compared**: {short(why)}" for name, why in failures.items()),
        MAX_ROWS,
        "- and {:,} more could not be compared",
    )
    left = (f"- {name} is left out: {short(why)}" for name, why in left_out.items())
    parts += first_of(left, MAX_ROWS, "- and {:,} more are left out")
    details = [_details(each, by_table[each.table]) for each in found if _has_details(each)]
    shown = next(in_groups(((text, len(text)) for text in details), MAX_CHARACTERS), [])
    parts += first_of(details, len(shown), "and {:,} more tables: see `ferry.audits`")
    with cosmetic("what was compared"):
        create_markdown_artifact(key="reconcile", markdown="\n\n".join(parts))


def advice(spec: TableSpec, audit: Audit) -> str:
    """What repairs what an audit has found: a command, of just the days that differ."""
    only_extra, full = audit.counts_only_extra, spec.mode == "full"
    if only_extra and spec.hard_deletes == "report" and not full:
        return (
            "To take these rows out, or mark them: `hard_deletes: delete` or `mark` in the table's "
            "spec, and repair=all."
        )
    rows = audit.different_rows(*DIFFERENCES)
    by_time = spec.cursor_unit or all(row.at is None or isinstance(row.at, date) for row in rows)
    if not (full or by_time or only_extra):
        return f"Its rows are in no window. Carry the whole table: {full_copy(spec)}"
    return f"To repair: {command_line(spec, audit)}"


def command_line(spec: TableSpec, audit: Audit) -> str:
    """The command that repairs what an audit has found."""
    extra = audit.counts[Difference.EXTRA] and spec.hard_deletes != "report"
    given = [f"table={asked_as(spec)}"]
    windows = [bucket.window for bucket in audit.different if bucket.window]
    if windows and spec.mode != "full":
        first, last = DayRange.of(windows[0]), DayRange.of(windows[-1])
        given += [f"start_date={first.start}", f"end_date={last.end}", f"zone={first.zone}"]
    given.append(f"repair={'all' if extra else 'carry'}")
    return f"prefect deployment run 'reconcile/on-demand' --param {' --param '.join(given)}"


def _line(audit: Audit) -> str:
    return f"| {audit.table} | {audit.compared} | {audit.rows:,} | {_counts(audit)} |"


def _has_details(audit: Audit) -> bool:
    return bool(audit.different or audit.not_exact or not audit.judges)


def _details(audit: Audit, spec: TableSpec) -> str:
    lines = [f"### {audit.table}"]
    if audit.not_exact:
        lines.append(f"Compared otherwise than exactly: {escaped(', '.join(audit.not_exact))}.")
    if not audit.judges:
        lines.append(_NOT_JUDGED)
    if audit.different:
        rows = [_bucket_line(bucket) for bucket in audit.different]
        lines.append(
            f"| {audit.different[0].unit or 'part'} | source | target | {_CLASSES} |\n"
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
            + "\n".join(first_of(rows, MAX_ROWS, "| and {:,} more | | | | | | | |"))
        )
        lines.append(advice(spec, audit))
        lines.append(_keys(audit) if spec.show_keys else "Keys are shown with `show_keys: true`.")
    return "\n\n".join(lines)


def _bucket_line(bucket: AuditedBucket) -> str:
    rows = f"{bucket.source.rows:,} | {bucket.target.rows:,}"
    return f"| {bucket.label} | {rows} | {_counts(bucket)} |"


def _counts(of: Audit | AuditedBucket) -> str:
    """The cells of `_CLASSES`."""
    counts = [of.counts[how] for how in Difference]
    return " | ".join(f"{count:,}" for count in (*counts, of.unclassified))


def _keys(audit: Audit) -> str:
    """The keys of rows that differ, as their canonical texts: of text, after its length."""
    lines = [f"- {row.how}: {escaped(row.key)}" for row in audit.different_rows(*DIFFERENCES)]
    return "\n".join(first_of(lines, MAX_KEYS, "- and {:,} more"))
