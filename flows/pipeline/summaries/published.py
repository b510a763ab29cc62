"""What became of the summaries of a run, and the state that it gives the run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from ferry.bounded import MAX_REASONS, first_of, on_one_line

if TYPE_CHECKING:  # it brings sqlglot
    from ferry.summaries.publications import Publication

ANY_WAREHOUSE = ""
"""In place of the name of a warehouse's block."""


@dataclass
class Published:
    """What became of some summaries.

    Attributes:
        publications: What was published, in order.
        failures: Why others were not, by their warehouses and tables; by `ANY_WAREHOUSE` where that
            is not known, as of one whose files cannot be read.
    """

    publications: list[Publication] = field(default_factory=list)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)

    def failed(self, head: str) -> State[Any]:
        """The state of a run that failed, one reason per line."""
        reasons = first_of(map(on_one_line, self.failures.values()), MAX_REASONS)
        return Failed(message=(" " if len(reasons) == 1 else "\n").join([head, *reasons]))

    def after(self, carried: str, data: Any = None) -> State[Any]:
        """The state of a run whose rows have arrived, with what became of the summaries.

        Args:
            carried: What arrived, in one line.
            data: What the run returns.
        """
        if self.failures:
            head = f"{carried}. These rows have arrived; not up to date are {len(self.failures)} "
            return self.failed(head + ("summary:" if len(self.failures) == 1 else "summaries:"))
        lines = first_of(map(str, self.publications), MAX_REASONS)
        return Completed(message="; ".join([carried, *lines]), data=data)
