"""Checks before publishing: what to ask the warehouse, and how to judge its answers.

Nothing is asked here. A question is some statements; its answer, their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from itertools import count
from math import inf, isnan, nan
from typing import Any, Literal, TypeGuard

from ferry.bounded import first_of
from ferry.capabilities import Capabilities
from ferry.schema import TableName
from ferry.statements import Statement, column_list, quoted, table_sql
from ferry.summaries.check_specs import (
    GRAIN_NOT_NULL,
    GRAIN_UNIQUE,
    IN_PARTITION,
    IN_WINDOW,
    BoundsCheck,
    ChangeCheck,
    Check,
    NotNullCheck,
    Severity,
    SqlCheck,
    UniqueCheck,
)
from ferry.summaries.check_subject import Subject
from ferry.summaries.moments import by_moments
from ferry.summaries.partitions import Span
from ferry.summaries.query import bound, param, parse_query
from ferry.windows import on_clock, zone_info

SPANS_TOLD = 3
"""Of those that are built, in what a check expected and found."""

Side = Literal["input_check", "output_check"]
Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Question:
    """What to ask for one check, and how to judge the answers."""

    label: str
    side: Side
    severity: Severity
    statements: tuple[Statement, ...]
    judge: Callable[[Sequence[Rows]], Verdict]


@dataclass(frozen=True)
class Verdict:
    """Whether a check passed, what it expected and what was found; no row's values."""

    passed: bool
    expected: str
    found: str


@dataclass(frozen=True)
class CheckResult:
    """How a check went."""

    label: str
    side: Side
    severity: Severity
    passed: bool
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.side} {self.label!r}: expected {self.expected}, found {self.found}"


def question(check: Check, side: Side, subject: Subject, capabilities: Capabilities) -> Question:
    """What to ask for this check."""
    asked, judge = _asked(check, side, subject, capabilities)
    values = {**subject.values, **_limits(check, subject)}
    statements = tuple(bound(text, values) for text in asked)
    return Question(check.label, side, check.severity, statements, judge)


def built_in(subject: Subject, grain: Sequence[str], capabilities: Capabilities) -> list[Question]:
    """What is asked of every summary: one row for each of its grain, and no row out of place."""
    checks: list[Check] = [
        NotNullCheck(name=GRAIN_NOT_NULL, not_null=tuple(grain)),
        UniqueCheck(name=GRAIN_UNIQUE, unique=tuple(grain)),
    ]
    questions = [question(check, "output_check", subject, capabilities) for check in checks]
    partition = subject.partition
    if subject.by_window and partition is not None and not (subject.whole and partition in grain):
        assert subject.built is not None
        label, found = IN_WINDOW, "rows outside"
        outside = f"{quoted(partition)} IS NULL"  # no later build of some partitions would find it
        if subject.whole:
            label, found = IN_PARTITION, "rows without"
        else:
            outside += f" OR NOT ({subject.within()})"
        text = f"SELECT COUNT(*) FROM {table_sql(subject.built)} WHERE {outside}"  # noqa: S608
        asked = (bound(text, subject.values),)
        questions.append(Question(label, "output_check", "fail", asked, _none(found)))
    return questions


def judged(asked: Question, answers: Sequence[Rows]) -> CheckResult:
    """How the check went."""
    verdict = asked.judge(answers)
    return CheckResult(
        asked.label, asked.side, asked.severity, verdict.passed, verdict.expected, verdict.found
    )


Asked = tuple[list[str], Callable[[Sequence[Rows]], Verdict]]


def _asked(check: Check, side: Side, subject: Subject, capabilities: Capabilities) -> Asked:
    if isinstance(check, SqlCheck):
        return _sql(check, side, subject, capabilities)
    if isinstance(check, ChangeCheck):
        return _change(check, subject)
    table, within = _place(check.table, subject)
    if isinstance(check, NotNullCheck):
        null = " OR ".join(f"{quoted(name)} IS NULL" for name in check.not_null)
        where = f"({null}){within}"
        tie = subject.reads.get(check.table) if within and check.table else None
        if tie and tie.lower() in map(str.lower, check.not_null):  # without it, in no partition
            where = f"{quoted(tie)} IS NULL OR ({where})"
        text = f"SELECT COUNT(*) FROM {table} WHERE {where}"  # noqa: S608  # names
        return [text], _none("rows with NULL")
    if isinstance(check, UniqueCheck):
        if check.table is None:  # also against the partitions that stay
            table, within = f"{subject.about_to_be()} AS about_to_be", ""
        names = column_list(check.unique)
        text = (
            f"SELECT COUNT(*) FROM (SELECT {names} FROM {table} WHERE 1 = 1{within} "  # noqa: S608
            f"GROUP BY {names} HAVING COUNT(*) > 1) AS repeated"
        )
        return [text], _none("of them more than once")
    column = quoted(check.bounds)
    outside = []
    if check.min is not None:
        outside.append(f"{column} < {param('min')}")
    if check.max is not None:
        above = ">=" if _day_after(check.max) else ">"
        outside.append(f"{column} {above} {param('max')}")
    text = f"SELECT COUNT(*) FROM {table} WHERE ({' OR '.join(outside)}){within}"  # noqa: S608
    return [text], _none(f"rows outside of {_range(check.min, check.max)}")


def _place(table: str | None, subject: Subject) -> tuple[str, str]:
    """Where to look: a table that is read, in the spans that are built; or what was built."""
    if table is None:
        assert subject.built is not None
        return table_sql(subject.built), ""
    read, tie = TableName.parse(table), subject.reads.get(table)
    within = f" AND ({subject.within_read(read, tie)})" if tie and not subject.whole else ""
    return table_sql(read), within


def _limits(check: Check, subject: Subject) -> dict[str, Any]:
    if not isinstance(check, BoundsCheck):
        return {}
    table = TableName.parse(check.table) if check.table else subject.target
    zone = subject.zone if subject.has_zone(table, check.bounds.lower()) else None
    limits = {"min": check.min, "max": _day_after(check.max) or check.max}
    return {name: _as_bound(limit, zone) for name, limit in limits.items()}


def _as_bound(limit: Any, zone: str | None) -> Any:
    """A limit as it is compared: in a zone's column, days and times are those of the zone."""
    if isinstance(limit, float):
        return Decimal(str(limit))
    if zone is None or not isinstance(limit, date):
        return limit
    moment = limit if isinstance(limit, datetime) else datetime.combine(limit, time.min)
    return on_clock(moment if moment.tzinfo else moment.replace(tzinfo=zone_info(zone)), UTC)


def _day_after(limit: object) -> date | None:
    """Where a day that is the highest value ends, of a date or a time; None for another limit."""
    if not isinstance(limit, date) or isinstance(limit, datetime) or limit == date.max:
        return None
    return limit + timedelta(days=1)


def _none(of_what: str) -> Callable[[Sequence[Rows]], Verdict]:
    def judge(answers: Sequence[Rows]) -> Verdict:
        found = int(answers[0][0][0])
        return Verdict(found == 0, f"no {of_what}", f"{found:,} {of_what}" if found else "none")

    return judge


def _sql(check: SqlCheck, side: Side, subject: Subject, capabilities: Capabilities) -> Asked:
    """Asked once for each span that is built, where it asks about the window."""
    texts, by_span = [], False
    for text in check.texts:
        query = parse_query(text, check.label)
        by_span |= bool(query.parameters)
        query = by_moments(query, subject.zoned)
        if side == "output_check":
            query = query.reading(subject.target, subject.about_to_be(lambda name: f":{name}"))
        texts.append(query.text(capabilities))
    spans = subject.spans if by_span else subject.spans[:1]
    asked = [subject.of_span(text, number) for number in range(len(spans)) for text in texts]

    def judge(answers: Sequence[Rows]) -> Verdict:
        of_each = (answers[at : at + len(texts)] for at in range(0, len(answers), len(texts)))
        verdicts = [_value(check, each) for each in of_each]
        told = [each for each in zip(spans, verdicts, strict=True) if not each[1].passed]
        passed, told = not told, told or list(zip(spans, verdicts, strict=True))
        expected = _said([(span, verdict.expected) for span, verdict in told])
        return Verdict(passed, expected, _said([(span, verdict.found) for span, verdict in told]))

    return asked, judge


def _value(check: SqlCheck, answers: Sequence[Rows]) -> Verdict:
    found = _number(answers[0])
    equals = _number(answers[1]) if len(answers) > 1 else _decimal(check.equals)
    least, most = _decimal(check.least), _decimal(check.max)
    wanted = []
    if check.equals is not None:
        wanted.append("a number to compare with" if not _is_number(equals) else f"just {equals:,f}")
    if least is not None or most is not None:
        wanted.append(_range(least, most))
    if not _is_number(found):
        return Verdict(False, " and ".join(wanted), "NULL" if found is None else "no number")
    passed = (
        (check.equals is None or found == equals)
        and (least is None or found >= least)
        and (most is None or found <= most)
    )
    return Verdict(passed, " and ".join(wanted), f"{found:,f}")


def _said(of_spans: Sequence[tuple[Span, str]]) -> str:
    """What is told of some spans: once where it is the same, else with the span."""
    texts = {text for _, text in of_spans}
    if len(texts) == 1:
        return texts.pop()
    lines = (f"{text} in {span.label}" for span, text in of_spans)
    return ", ".join(first_of(lines, SPANS_TOLD))


_NO_NUMBER = Decimal("NaN")


def _number(rows: Rows) -> Decimal | None:
    """The first value of an answer; None for no row or NULL."""
    return _decimal(rows[0][0]) if rows else None


def _decimal(value: Any) -> Decimal | None:
    """The value to the digit; None for NULL, and NaN for whatever is no number."""
    if value is None:
        return None
    try:
        number = Decimal(str(int(value) if isinstance(value, bool) else value))
    except InvalidOperation:
        return _NO_NUMBER
    return _NO_NUMBER if number.is_nan() else number


def _is_number(value: Decimal | None) -> TypeGuard[Decimal]:
    return value is not None and not value.is_nan()


def _range(least: object, most: object) -> str:
    if least is None:
        return f"at most {most}"
    return f"at least {least}" if most is None else f"{least} to {most}"


def _change(check: ChangeCheck, subject: Subject) -> Asked:
    assert subject.built is not None
    of_measure = f"{check.aggregate.upper()}({quoted(check.change)})"
    figure = "COUNT(*)" if check.change == "rows" else of_measure
    partition = quoted(subject.partition) if subject.partition else "1"
    group = f" GROUP BY {quoted(subject.partition)}" if subject.partition else ""
    inside = f" WHERE {subject.within()}" if subject.partition and not subject.whole else ""

    def judge(answers: Sequence[Rows]) -> Verdict:
        before, after = ({row[0]: _decimal(row[1]) for row in rows} for rows in answers)
        moved = [
            (
                inf if isnan(percent) else abs(percent),
                f"{_day(key, subject.zone)} {_by(percent, check)}",
            )
            for key, was in before.items()
            if was is not None
            and (percent := _moved(was, after.get(key))) is not None
            and _is_too_far(percent, check)
        ]
        way = {"both": "moved", "up": "risen", "down": "fallen"}[check.direction]
        expected = f"none {way} by more than {check.max_percent:g} %"
        if not moved:
            return Verdict(True, expected, "none" if before else "nothing published to compare")
        more = f", and {len(moved) - 1} more" if len(moved) > 1 else ""
        return Verdict(False, expected, max(moved)[1] + more)

    if not subject.published or {check.change, subject.partition} & subject.gained:
        return [], lambda _: judge(((), ()))
    texts = [
        f"SELECT {partition}, {figure} FROM {table_sql(table)}{inside}{group}"  # noqa: S608
        for table in (subject.target, subject.built)
    ]
    return texts, judge


def _moved(before: Decimal, after: Decimal | None) -> float | None:
    """How far a figure moved, in percent; a figure that is gone has moved to nothing.

    None if it did not, and NaN if one of the two is no number.
    """
    now = Decimal(0) if after is None else after
    if before == now or (before.is_nan() and now.is_nan()):
        return None
    if before.is_nan() or now.is_nan():
        return nan
    if before and before.is_finite() and now.is_finite():
        return float((now - before) / abs(before) * 100)
    return inf if now > before else -inf


def _is_too_far(percent: float, check: ChangeCheck) -> bool:
    if isnan(percent):
        return True
    this_way = check.direction == "both" or (percent > 0) == (check.direction == "up")
    return this_way and abs(percent) > check.max_percent


def _by(percent: float, check: ChangeCheck) -> str:
    """By how much it is too far, with as many digits as show that it is."""
    if isnan(percent):
        return "to or from what is no number"
    written = (f"{percent:+.{digits}f}" for digits in count(1))
    return f"by {next(text for text in written if abs(float(text)) > check.max_percent)} %"


def _day(key: object, zone: str) -> str:
    if isinstance(key, datetime):
        key = (on_clock(key, zone_info(zone)) if key.tzinfo else key).date()
    return key.isoformat() if isinstance(key, date) else "the table"
