"""The files of a summary: its YAML and its SQL, read together, and the order among summaries."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pydantic import ValidationError

from ferry.errors import RequestError, SpecError
from ferry.reasons import reason_of
from ferry.specs.yaml_file import YamlFile, read_yaml
from ferry.summaries.across import looking_across
from ferry.summaries.check_specs import told_apart
from ferry.summaries.query import WRITTEN_IN, parse_query
from ferry.summaries.specs import SummarySpec


@dataclass(frozen=True)
class BrokenSummary:
    """A summary whose files cannot be read; it stops no other.

    Attributes:
        name: Its folder's.
        error: What is wrong, with file, line and field.
        text: All that stands in its files.
    """

    name: str
    error: SpecError
    text: str

    @property
    def target(self) -> str:
        """Its table, as far as that can be told."""
        found = dict(re.findall(r"(?m)^(schema|table): *[\"']?(\w+)", self.text))
        return f"{found.get('schema', 'analytics')}.{found.get('table', self.name)}"

    def mentions(self, table: str) -> bool:
        """Whether the name, schema.table, stands in its files, so that it is likely to read it."""
        return bool(re.search(rf"(?<![\w.]){re.escape(table)}(?!\w)", self.text.replace('"', "")))


class Summaries(dict[str, SummarySpec]):
    """The specs by name, in an order in which each comes after those that it reads.

    Attributes:
        broken: Those that cannot be read.
    """

    broken: tuple[BrokenSummary, ...] = ()

    def named(self, summary: str) -> SummarySpec:
        """The spec of that summary, by its name or its table's.

        Raises:
            SpecError: Its files cannot be read.
            RequestError: There is none of that name.
        """
        for spec in self.values():
            if summary in (spec.name, str(spec.target)):
                return spec
        for broken in self.broken:
            if summary in (broken.name, broken.target):
                raise broken.error
        raise RequestError(
            f"there is no summary {summary!r}",
            expected="one of " + (", ".join(sorted(self)) or "none at all"),
            todo="Check the spelling, or add its folder to the summaries.",
        )

    def reached_from(self, tables: Iterable[tuple[str, str]]) -> list[SummarySpec]:
        """The summaries that read these tables, or other summaries that do, in order.

        Args:
            tables: The names of warehouse blocks and of tables in them.
        """
        reached = set(tables)
        found = []
        for spec in self.values():
            if any((spec.warehouse, name) in reached for name in spec.reads):
                reached.add((spec.warehouse, str(spec.target)))
                found.append(spec)
        return found

    def not_followed(
        self, tables: Iterable[tuple[str, str]]
    ) -> list[tuple[SummarySpec, list[str]]]:
        """The summaries that read what nobody carries or builds, so that no run tells its changes.

        Args:
            tables: The names of warehouse blocks, and of the tables that are carried into them.
        """
        told = {*tables, *((spec.warehouse, str(spec.target)) for spec in self.values())}
        broken = {each.target for each in self.broken}
        found = [
            (spec, [n for n in spec.reads if (spec.warehouse, n) not in told and n not in broken])
            for spec in self.values()
        ]
        return [(spec, names) for spec, names in found if names]

    def broken_from(self, tables: Iterable[str]) -> dict[str, str]:
        """Why summaries that seem to read one of these tables cannot be built, by their tables."""
        names = list(tables)
        return {
            broken.target: reason_of(broken.error)
            for broken in self.broken
            if any(map(broken.mentions, names))
        }


def read_summaries(found: Mapping[str, Mapping[str, str]], dialects: Collection[str]) -> Summaries:
    """The summaries of all folders; what is wrong with one of them stops no other.

    Args:
        found: The folders' files, with their content, by the folders' names.
        dialects: As for `parse_summary`.

    Raises:
        SpecError: Several read each other in circles or have one table, and no single one is to
            blame.
    """
    specs, errors = dict[str, SummarySpec](), dict[str, SpecError]()
    for name, files in found.items():
        try:
            specs[name] = parse_summary(name, files, dialects)
        except SpecError as error:
            errors[name] = error
    try:
        summaries = order_summaries(specs.values())
    except SpecError as error:
        blamed = [name for name in specs if _fits(s for s in specs.values() if s.name != name)]
        if not blamed:
            raise
        errors |= dict.fromkeys(blamed, error)
        summaries = order_summaries(spec for name, spec in specs.items() if name not in blamed)
    summaries.broken = tuple(
        BrokenSummary(name, error, "\n".join(found[name].values()))
        for name, error in sorted(errors.items())
    )
    return summaries


def _fits(specs: Iterable[SummarySpec]) -> bool:
    try:
        order_summaries(specs)
    except SpecError:
        return False
    return True


def parse_summary(name: str, files: Mapping[str, str], dialects: Collection[str]) -> SummarySpec:
    """The summary of one folder.

    Args:
        name: The folder's name.
        files: The content of its files by their names.
        dialects: The SQL that the warehouses speak, as sqlglot names it: besides `query.sql`, a
            summary may have `query.<dialect>.sql`.

    Raises:
        SpecError: A file is missing or wrong; the message names file, line and field.
    """
    return _parsed(name, tuple(sorted(files.items())), tuple(sorted({*dialects} - {WRITTEN_IN})))


@lru_cache(maxsize=1024)
def _parsed(
    name: str, content: tuple[tuple[str, str], ...], dialects: tuple[str, ...]
) -> SummarySpec:
    """As `parse_summary`; a run of many tables reads the same files after each of them."""
    files = dict(content)
    for needed in ("summary.yaml", "query.sql"):
        if needed not in files:
            raise SpecError(f"{name}/{needed} is missing", todo="Each summary has both files.")
    read = read_yaml(files["summary.yaml"], f"{name}/summary.yaml")
    if not isinstance(read.data, dict):
        raise SpecError(f"{read.name}:1: expected fields, such as `schema: analytics`")
    queries = {WRITTEN_IN: parse_query(files["query.sql"], f"{name}/query.sql")}
    for file in sorted(set(files) - {"summary.yaml", "query.sql"}):
        dialect = file.removeprefix("query.").removesuffix(".sql")
        if file != f"query.{dialect}.sql" or dialect not in dialects:
            if file.endswith((".sql", ".yaml", ".yml")):
                known = ", ".join(f"query.{each}.sql" for each in dialects)
                raise SpecError(f"{name}/{file} is not a file of a summary", expected=known)
            continue
        queries[dialect] = parse_query(files[file], f"{name}/{file}", dialect=dialect)
    for field in ("name", "queries"):
        if field in read.data:
            raise SpecError(read.problem((field,), "not a field: the folder tells it"))
    try:
        spec = SummarySpec.model_validate({**read.data, "name": name, "queries": queries})
    except ValidationError as error:
        raise read.spec_error(error, _fields()) from error
    _check_queries(spec, read)
    _check_checks(spec, read)
    checks, inputs = told_apart((*spec.input_check, *spec.output_check)), len(spec.input_check)
    return spec.model_copy(
        update={"input_check": tuple(checks[:inputs]), "output_check": tuple(checks[inputs:])}
    )


def order_summaries(specs: Iterable[SummarySpec]) -> Summaries:
    """The summaries, each after those that it reads.

    Raises:
        SpecError: They read each other in a circle, or two have one table.
    """
    by_target: dict[tuple[str, str], SummarySpec] = {}
    for spec in specs:
        known = by_target.setdefault((spec.warehouse, str(spec.target)), spec)
        if known is not spec:
            raise SpecError(f"{known.name} and {spec.name} have one table, {spec.target}")
    graph = {
        key: [(key[0], read) for read in spec.reads if (key[0], read) in by_target]
        for key, spec in sorted(by_target.items())
    }
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " reads ".join(name for _, name in reversed(error.args[1]))
        raise SpecError(
            f"summaries read each other in a circle: {circle}",
            todo="Let one of them read the tables instead.",
        ) from error
    return Summaries({by_target[key].name: by_target[key] for key in order})


def _check_queries(spec: SummarySpec, read: YamlFile) -> None:
    for query in spec.queries.values():
        yielded, wanted = sorted(query.columns), sorted(spec.columns)
        if yielded != wanted:
            raise SpecError(
                read.problem(("columns",), f"not the columns that {query.file} yields"),
                expected=", ".join(wanted),
                found=", ".join(yielded),
                todo="Name every column of the SELECT, once.",
            )
        tables = {str(table) for table in query.tables}
        if tables != set(spec.reads):
            raise SpecError(
                read.problem(("reads",), f"not the tables that {query.file} reads"),
                expected=", ".join(sorted(tables)),
                found=", ".join(sorted(spec.reads)),
            )
        if spec.publish == "by_window" and len(query.parameters) < 2:
            raise SpecError(
                f"{query.file}: publish: by_window needs :window_start and :window_end",
                found=", ".join(f":{name}" for name in query.parameters) or "neither",
                todo="Read only the rows of the window: column >= :window_start AND column < "
                ":window_end.",
            )
        if spec.publish == "by_window" and (across := looking_across(spec, query.tree)):
            assert spec.partition is not None
            raise SpecError(
                f"{query.file}: publish: by_window, and a function looks across partitions",
                expected=f"PARTITION BY with what {spec.partition.column} is made of",
                found=across.sql(query.dialect),
                todo="Name it there, or use publish: replace: its numbers would depend on which "
                "partitions are built together.",
            )


def _check_checks(spec: SummarySpec, read: YamlFile) -> None:
    """Columns, tables and SQL of the checks, as far as they can be told without a warehouse."""
    for side in ("input_check", "output_check"):
        for position, check in enumerate(getattr(spec, side)):
            at = (side, position)
            for text in (getattr(check, "sql", None), getattr(check, "equals", None)):
                if isinstance(text, str):
                    parse_query(text, read.name, line=read.line(at) - 1)
            if side == "input_check":
                if hasattr(check, "table") and check.table not in spec.reads:
                    problem = "table: one of those that the summary reads is needed"
                    raise SpecError(read.problem(at, problem), expected=", ".join(spec.reads))
                if hasattr(check, "change"):
                    raise SpecError(read.problem(at, "change: is an output_check"))
                continue
            if getattr(check, "table", None) is not None:
                raise SpecError(read.problem(at, "table: an output_check looks at what was built"))
            named = {*getattr(check, "not_null", ()), *getattr(check, "unique", ())}
            named |= {getattr(check, "bounds", None), getattr(check, "change", None)}
            missing = sorted(named - {None, "rows", *spec.columns})
            if missing:
                raise SpecError(read.problem(at, f"no column {', '.join(missing)}"))


def _fields() -> list[str]:
    hidden = {"name", "queries"}
    return [f.alias or n for n, f in SummarySpec.model_fields.items() if n not in hidden]


def summary_json_schema() -> dict[str, Any]:
    """The JSON Schema of `summary.yaml`, for editors."""
    schema = SummarySpec.model_json_schema(by_alias=True)
    schema["properties"].pop("name")
    schema["required"] = [f for f in schema["required"] if f not in ("name", "table")]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
