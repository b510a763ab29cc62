"""Answers to a survey on one of the routes, and the shipped summaries over them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

from ferry.statements import PARAM, Statement, column_list
from ferry.summaries.publications import PUBLICATION_COLUMNS, Publication, publication_of
from tests.harness.journey import Journey

SHIPPED = Path(__file__).parents[2] / "deployments" / "summaries"
SPEC = {"mode": "window", "key": ["id"], "cursor": "created_at", "insert_rows": 500}
NPS = """CREATE TABLE nps (
  id INTEGER NOT NULL PRIMARY KEY, created_at DATETIME NOT NULL, score SMALLINT NULL
)"""


@dataclass
class Survey:
    """A journey with a table `nps`, and a folder of summaries that read it."""

    journey: Journey
    folder: Path
    answers: int = 0

    def __post_init__(self) -> None:
        self.journey.sql(NPS)
        self.journey.write_specs(nps=SPEC)
        self.ship("nps_summary")
        self.ship("nps_monthly_summary")

    def ship(self, name: str, **changes: str) -> None:
        """Put a shipped summary into the folder, in the journey's schema, with these changes."""
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        for file in (SHIPPED / name).iterdir():
            text = re.sub(r"\b(raw_data|analytics)\b", self.journey.schema, file.read_text())
            for old, new in changes.items():
                text = text.replace(old, new)
            if file.name == "summary.yaml":
                text += f"warehouse: {self.journey.name}\nretry_delay_seconds: 0\n"
            (self.folder / name / file.name).write_text(text)

    def edit(self, name: str, file: str, old: str, new: str) -> None:
        """Change one file of a summary."""
        path = self.folder / name / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def answer(self, day: int | date, scores: Iterable[int | None]) -> None:
        """Add answers, on this day of January 2023 or on that date."""
        when = day if isinstance(day, date) else date(2023, 1, day)
        rows = []
        for score in scores:
            self.answers += 1
            hour, minute = self.answers % 24, self.answers % 60
            rows.append((self.answers, f"{when} {hour:02}:{minute:02}:00", score))
        self.journey.sql("INSERT INTO nps VALUES (?, ?, ?)", rows)

    def published(
        self, name: str = "nps_summary", columns: str = "day, nps, responses"
    ) -> list[tuple[Any, ...]]:
        """The rows that readers see."""
        return self.journey.target(name, columns, order="1")

    def publications(self, name: str = "nps_summary") -> list[Publication]:
        """When it was published, in order."""
        names = column_list(column.name for column in PUBLICATION_COLUMNS)
        select = Statement(
            f"SELECT {names} FROM ferry.publications WHERE summary = {PARAM} ORDER BY published_at",
            (f"{self.journey.schema}.{name}",),
        )
        return [publication_of(row) for row in self.journey.warehouse.fetch(select)]

    def labels(self, name: str = "nps_summary") -> list[str]:
        """What was published each time."""
        return [publication.window_label for publication in self.publications(name)]

    def checks(self, outcome: str) -> list[tuple[Any, ...]]:
        """Name, expected and found of the checks that went so."""
        return self.journey.warehouse.fetch(
            Statement(
                "SELECT name, expected, found FROM ferry.check_results "
                f"WHERE summary = {PARAM} AND outcome = {PARAM} ORDER BY checked_at",
                (f"{self.journey.schema}.nps_summary", outcome),
            )
        )


def nps_of(scores: Iterable[int | None]) -> Decimal:
    """Promoters less detractors in percent, worked out another way than the SQL does."""
    kinds = Counter(
        "promoter" if score > 8 else "passive" if score > 6 else "detractor"
        for score in scores
        if score is not None
    )
    share = Decimal(kinds["promoter"] - kinds["detractor"]) / kinds.total() * 100
    return share.quantize(Decimal("0.01"), ROUND_HALF_UP)
