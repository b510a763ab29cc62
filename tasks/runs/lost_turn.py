"""A run goes on when it has lost its turn: nothing is wrong with the run itself.

A deployment with a limit of one run at a time holds its turn as a lease at Prefect's server. When
the lease cannot be renewed, as while the server is away for some minutes, Prefect's engine cancels
the run to keep the limit, and what it had still to carry is not carried. Two of Ferry's runs at
once do no harm: each batch lands once, behind its target's lock. A night that is not carried does.
Prefect's `concurrency()` leaves the choice to its caller, but its engine has no setting for it
(docs/decisions/0017-a-lost-turn-ends-no-run.md).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import wraps
from typing import Any

from prefect import flow_engine

KEEPERS = ("maintain_concurrency_lease", "amaintain_concurrency_lease")
"""By these names the engine keeps the turn of a run, of a synchronous flow and of an async one."""

RAISES = "raise_on_lease_renewal_failure"

_log = logging.getLogger(__name__)


def go_on_without_a_turn() -> None:
    """Let no flow run of this process be ended because its turn is lost; safe to call again.

    Prefect still says so, as a warning in the run's log. Where it keeps turns in another way, this
    does nothing: then such a run ends as Prefect lets it end.
    """
    for name in KEEPERS:
        keep = getattr(flow_engine, name, None)
        if keep is None or RAISES not in inspect.signature(keep).parameters:
            _log.debug("prefect.flow_engine.%s is not there, or is another: left alone", name)
        elif not hasattr(keep, "goes_on"):
            setattr(flow_engine, name, _going_on(keep))


def _going_on(keep: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(keep)
    def goes_on(*given: Any, **named: Any) -> Any:
        call = inspect.signature(keep).bind(*given, **named)
        call.arguments[RAISES] = False
        return keep(*call.args, **call.kwargs)

    goes_on.goes_on = True  # type: ignore[attr-defined]
    return goes_on
