"""update-symbols: carry the daily prices of symbols, the last days again for their corrections."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from difflib import get_close_matches
from textwrap import shorten
from typing import Annotated, Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import Field, ValidationError

from blocks.sources import PriceAPISource
from ferry.errors import ConfigurationError, RequestError
from ferry.runs.window import PRICES as TABLE
from ferry.runs.window import price_days
from ferry.specs.tables import TableSpec
from ferry.windows import check_begun, day_window, local_midnight, zone_info
from flows.pipeline.given_dates import Day
from flows.pipeline.make_batch import Dates, Route, load_route, make_batch, scheduled_start
from flows.pipeline.notify import notify
from flows.pipeline.summaries.follow import carry_and_follow
from flows.pipeline.table_specs import load_table_specs
from tasks.step import explains


def _run_name() -> str:
    given = flow_run.parameters
    when = given.get("run_date") or given.get("window_start")
    return "update symbols" + (f" {when}" if when else "")


@flow(
    name="update-symbols",
    persist_result=False,
    flow_run_name=_run_name,
    on_failure=[notify],
    on_crashed=[notify],
)
@explains
def update_symbols(
    symbols: list[str] | None = None,
    run_date: Day | None = None,
    days: Annotated[int, Field(ge=1, le=366)] = 7,
    window_start: Day | None = None,
    window_end: Day | None = None,
    zone: str | None = None,
) -> Any:
    """Carry the daily prices of symbols into `stock_prices`, and write the receipt.

    Without dates, the day before the run's scheduled start is carried and the days before it, since
    the API corrects days that are past. A symbol that cannot be read does not stop the others: the
    run then fails and names it, after they have landed. Where the table specs have no such table,
    and nothing was asked for, it completes: its schedule is deployed for every installation.

    Args:
        symbols: Only these symbols; by default all those of the source block.
        run_date: The last day to carry. An explicit date always wins over the schedule.
        days: How many days to carry, up to the last one.
        window_start: Carry from this day on, together with `window_end`; `days` does not count.
        window_end: Carry up to, but not including, this day.
        zone: Zone in which the day before the scheduled start is counted; by default the table's.

    Returns:
        The batch's receipt.

    Raises:
        RequestError: Dates or symbols that cannot be, or a zone that there is not. No retry helps.
        ConfigurationError: The table's source is none of prices. No retry helps.
    """
    if symbols == []:
        raise RequestError(
            "no symbol is named",
            expected="some symbols, or no such parameter for all those of the source block",
            todo="Correct the parameter `symbols`, or leave it out.",
        )
    if zone:
        zone_info(zone)
    specs, asked = load_table_specs(), symbols or run_date or window_start or window_end
    # A name that is just misspelled is refused below.
    if TABLE not in specs and not asked and not get_close_matches(TABLE, specs, n=1, cutoff=0.9):
        return Completed(message=f"the table specs have no {TABLE}: there are no prices to carry")
    spec = specs.named(TABLE)
    try:
        dates = _dates(spec, run_date, days, window_start, window_end, zone)
    except RequestError as error:
        raise error.at(table=str(spec.target)) from error.__cause__
    batch = make_batch(spec, dates, mode="window")
    route = load_route(spec)
    source = route.source
    if not isinstance(source, PriceAPISource):
        raise ConfigurationError(
            f"the table's source block {spec.source!r} is no price API",
            table=str(spec.target),
            expected=PriceAPISource.get_block_type_slug(),
            found=type(source).get_block_type_slug(),
            todo="Correct `source` in the table's spec.",
        )
    if symbols:
        chosen = _only(source, symbols)
        route = Route(chosen, route.stage, route.warehouse)
        if not set(chosen.symbols).issuperset(source.symbols):
            batch = replace(batch, subset=shorten(f"symbols {', '.join(chosen.symbols)}", 100))
    return carry_and_follow(batch, route)


def _dates(
    spec: TableSpec,
    run_date: date | None,
    days: int,
    window_start: date | None,
    window_end: date | None,
    zone: str | None,
) -> Dates:
    """Whole days as the table counts them; those of trading are the exchanges' own."""

    def midnight(day: date | None) -> Any:
        return day and local_midnight(day, spec.wall_clock_zone)

    if window_start or window_end:
        return Dates(run_date, midnight(window_start), midnight(window_end), spec.wall_clock_zone)
    if run_date:
        check_begun(day_window(run_date, zone or spec.wall_clock_zone), scheduled_start())
    first, end = price_days(spec, run_date, days, scheduled_start(), zone)
    return Dates(None, midnight(first), midnight(end), spec.wall_clock_zone)


def _only(source: PriceAPISource, symbols: list[str]) -> PriceAPISource:
    """The source with these symbols alone."""
    fields = {name: getattr(source, name) for name in PriceAPISource.model_fields}
    try:
        checked = PriceAPISource(**{**fields, "symbols": symbols})
    except ValidationError as error:
        raise RequestError(
            "these are no symbols", found=", ".join(symbols)[:200], todo="Correct `symbols`."
        ) from error
    return source.model_copy(update={"symbols": checked.symbols})  # which keeps the block's name
