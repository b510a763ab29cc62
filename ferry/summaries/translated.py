"""What sqlglot translates for a warehouse into something else, without an error: it is refused.

A warehouse lists by `Capabilities.means_otherwise` which of `DIFFERENCES` are so in its SQL. They
are looked for in what the author wrote, since the tree does not tell all of them any more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence

from sqlglot import exp

from ferry.errors import SpecError
from ferry.summaries.query_text import QueryText

Call = tuple[str, list[tuple[str, ...]]]
"""A function's name in upper case, and the words of each of its arguments."""

Found = Callable[[exp.Expression, Sequence[Call]], bool]

_SECOND = {"S", "SEC", "SECS", "SECOND", "SECONDS"}
_MILLISECOND = re.compile(r"MS|MSECS?|MSECONDS?|MILLISEC(S|ON|OND|ONDS)?")
_MICROSECOND = re.compile(r"US|USECS?|USECONDS?|MICROSEC(S|OND|ONDS)?")
_TRANSLATED_FORMATS = re.compile(
    r"'(IYYY|YYYY|YY|MM|DDD|DD|IW|HH24|HH12|MI|SS|US|yyyy|yy|mm|ddd|dd|mi|ss|[^A-Za-z\"%])*'"
)
_FIXED_TEXT = (exp.DType.CHAR, exp.DType.NCHAR)
_TEXT = (exp.DType.VARCHAR, exp.DType.NVARCHAR, exp.DType.BPCHAR)


def check_meanings(
    written: QueryText,
    tree: exp.Expression,
    means_otherwise: Collection[str],
    *,
    file: str,
    dialect: str,
) -> None:
    """Refuse a query that would mean something else in a warehouse's SQL.

    Args:
        written: Its text.
        tree: What sqlglot made of it.
        means_otherwise: Which of `DIFFERENCES` the warehouse has.
        file: Where it stands, for messages.
        dialect: The warehouse's SQL, as sqlglot names it.

    Raises:
        SpecError: It has one of them; the message names all that it has.
    """
    calls = list(_calls(written.words))
    found = [
        (name, instead)
        for name, (is_in, instead) in DIFFERENCES.items()
        if name in means_otherwise and is_in(tree, calls)
    ]
    if found:
        raise SpecError(
            f"{file}: translated into the warehouse's SQL, it would mean something else: "
            + ", ".join(name for name, _ in found),
            todo="".join(f"In place of {name} write {instead}. " for name, instead in found)
            + own_query(dialect),
        )


def own_query(dialect: str) -> str:
    """What else to do about a query that is not to be translated for a warehouse of this SQL."""
    return (
        f"A query can also stand in query.{dialect}.sql, as the warehouse takes it; a check cannot."
    )


def ordered_within(node: exp.Expression) -> exp.Expression:
    """`LISTAGG(x, ',') WITHIN GROUP (ORDER BY y)` as one whose arguments have the order.

    PostgreSQL knows no other, and sqlglot leaves it where it stands.
    """
    joined, order = node.this, node.args.get("expression")
    if not (
        isinstance(node, exp.WithinGroup)
        and isinstance(joined, exp.GroupConcat)
        and isinstance(order, exp.Order)
    ):
        return node
    ordered = exp.Order(this=joined.this, expressions=order.expressions)
    return exp.GroupConcat(this=ordered, separator=joined.args.get("separator"))


def _calls(words: Sequence[str]) -> Iterator[Call]:
    """The functions that are called, however deep within others; none of a schema's own."""
    for n, word in enumerate(words[:-1]):
        if words[n + 1] != "(" or (n and words[n - 1] == "."):
            continue
        arguments: list[tuple[str, ...]] = [()]
        depth = 1
        for each in words[n + 2 :]:
            depth += (each == "(") - (each == ")")
            if not depth:
                break
            if depth == 1 and each == ",":
                arguments.append(())
            else:
                arguments[-1] += (each,)
        yield word.strip('"').upper(), arguments


def _called(*names: str) -> Found:
    return lambda _, calls: any(name in names for name, _ in calls)


def _part(function: str, *parts: str | re.Pattern[str]) -> Found:
    """Whether a function is asked for one of these parts of a date."""

    def is_in(_: exp.Expression, calls: Sequence[Call]) -> bool:
        asked = [
            "".join(args[0][:1]).strip("'\"").upper() for name, args in calls if name == function
        ]
        return any(re.fullmatch(part, each) for part in parts for each in asked)

    return is_in


def _datediff(tree: exp.Expression, _: Sequence[Call]) -> bool:
    """But for days between dates: where a value has an hour, what has passed would be counted."""
    return any(
        each.text("unit").upper() != "DAY"
        or not all(
            isinstance(a, exp.Cast) and a.is_type("date") for a in (each.this, each.expression)
        )
        for each in tree.find_all(exp.DateDiff, exp.TsOrDsDiff)
    )


def _weeks(tree: exp.Expression, _: Sequence[Call]) -> bool:
    """Also as WEEKS: other units are one word however they are written, but sqlglot leaves that."""
    return any(
        each.text("unit").upper() in ("WEEK", "WEEKS")
        for each in tree.find_all(exp.DateDiff, exp.TsOrDsDiff)
    )


def _cast(to: Callable[[exp.DataType], bool]) -> Found:
    return lambda tree, _: any(to(each.to) for each in tree.find_all(exp.Cast))


def _cuts(text: exp.DataType) -> bool:
    """Whether it has a length that a text may exceed."""
    lengths = [each.name.upper() for each in text.expressions]
    return bool(lengths) and lengths != ["65535"]


def _backslash(tree: exp.Expression, _: Sequence[Call]) -> bool:
    return any(
        isinstance(each.expression, exp.Literal)
        and "\\" in each.expression.this
        and not isinstance(each.parent, exp.Escape)
        for each in tree.find_all(exp.Like, exp.ILike)
    )


DIFFERENCES: dict[str, tuple[Found, str]] = {
    "ADD_MONTHS": (
        _called("ADD_MONTHS"),
        "DATEADD, which leaves the last day of a month for the same day of another",
    ),
    "CONCAT": (_called("CONCAT"), "||, which is NULL everywhere where one side is"),
    "REGEXP_REPLACE": (_called("REGEXP_REPLACE"), "REPLACE or TRANSLATE, if they will do"),
    "REGEXP_SUBSTR of an occurrence": (
        lambda _, calls: any(n == "REGEXP_SUBSTR" and len(args) > 2 for n, args in calls),
        "REGEXP_SUBSTR of two arguments",
    ),
    "DATEDIFF": (_datediff, "DATEDIFF(day, …) of two values that are each cast to DATE"),
    "DATEDIFF in weeks": (_weeks, "DATEDIFF(day, …) of two DATE_TRUNC('week', …), divided by 7"),
    "NUMERIC without digits": (
        _cast(lambda to: to.is_type("decimal") and not to.expressions),
        "NUMERIC(18, 0)",
    ),
    "VARCHAR(n) or CHAR": (
        _cast(lambda to: to.this in _FIXED_TEXT or (to.this in _TEXT and _cuts(to))),
        "VARCHAR(65535), and LEFT(…, n) to cut",
    ),
    "EXTRACT of seconds": (
        _part("EXTRACT", *_SECOND),
        "FLOOR(DATE_PART(second, …))",
    ),
    "EXTRACT of epoch or parts of a second": (
        _part("EXTRACT", "EPOCH", _MILLISECOND, _MICROSECOND),
        "FLOOR(DATE_PART(epoch, …)) for the seconds since 1970",
    ),
    "DATE_PART of seconds": (
        _part("DATE_PART", *_SECOND, _MILLISECOND),
        "EXTRACT(second FROM …) for whole seconds",
    ),
    "TO_CHAR": (
        lambda _, calls: any(
            name == "TO_CHAR" and not _TRANSLATED_FORMATS.fullmatch(" ".join(args[-1]))
            for name, args in calls
        ),
        "a format of YYYY, MM, DD, DDD, HH24, HH12, MI, SS, US, IYYY and IW alone",
    ),
    "LISTAGG": (
        lambda _, calls: any(
            name == "LISTAGG" and (len(args) == 1 or args[0][:1][0].upper() == "DISTINCT")
            for name, args in calls
        ),
        "LISTAGG with a delimiter and without DISTINCT",
    ),
    "SIMILAR TO": (lambda tree, _: tree.find(exp.SimilarTo) is not None, "LIKE or ~"),
    "LIKE with a backslash": (_backslash, "LIKE … ESCAPE '!'"),
    "SUBSTRING from below 0": (
        lambda tree, _: any(
            isinstance(each.args.get("start"), exp.Neg) for each in tree.find_all(exp.Substring)
        ),
        "SUBSTRING from 1",
    ),
}
"""What it is called in messages: whether it is in a query, and what to write in place of it."""
