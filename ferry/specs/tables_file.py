"""The file `tables.yaml`: which tables are carried, and what they share by its `defaults`.

```yaml
defaults:
  source: shop
  schema: raw_data
tables:
  nps:
    mode: window
    key: [id]
    cursor: created_at
```
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ferry.errors import RequestError, SpecError
from ferry.specs.rules import LATE, in_vain
from ferry.specs.tables import TableSpec
from ferry.specs.yaml_file import YamlFile, read_yaml


class TablesFile(BaseModel):
    """The file of table specs."""

    model_config = ConfigDict(extra="forbid")

    defaults: dict[str, Any] = Field(
        default_factory=dict, description="Values for every table that does not say otherwise."
    )
    tables: dict[str, dict[str, Any] | None] = Field(description="The tables, by name.")


class TableSpecs(dict[str, TableSpec]):
    """The specs by table name."""

    def named(self, table: str) -> TableSpec:
        """The spec of that table; `raw_data.nps` and `nps` both find nps.

        Raises:
            RequestError: There is none of that name.
        """
        for spec in self.values():
            if table in (spec.name, str(spec.target)):
                return spec
        meant = get_close_matches(table, self, n=1)
        raise RequestError(
            f"there is no table {table!r} among the specs",
            expected="one of " + (", ".join(sorted(self)) or "none at all"),
            todo=(f"Did you mean {meant[0]}? " if meant else "")
            + "Check the spelling, or add the table to the specs.",
        )


def parse_table_specs(text: str, file: str) -> TableSpecs:
    """The specs in this YAML text.

    Args:
        text: The content of the file.
        file: Its name, for messages.

    Raises:
        SpecError: Not YAML, unknown fields, wrong values; the message names file, line and field.
    """
    read = read_yaml(text, file)
    try:
        content = TablesFile.model_validate(read.data)
    except ValidationError as error:
        raise read.spec_error(error, _fields()) from error
    for place in (("defaults",), *(("tables", name) for name in content.tables)):
        if read.is_blank((*place, "zero_dates")):  # to YAML, that is null, too
            raise SpecError(
                read.problem((*place, "zero_dates"), "expected one of error, null"),
                found="nothing",
                todo="Write one of them, or leave the field out.",
            )
    _refuse_another_name(content, read)
    specs = TableSpecs()
    for name, own in content.tables.items():
        merged = {**content.defaults, **(own or {}), "name": name}
        try:
            specs[name] = TableSpec.model_validate(merged)
        except ValidationError as error:
            raise read.spec_error(error, _fields(), ("tables", name)) from error
        said = [field for field in LATE if read.says(("tables", name, field))]
        for field, why, todo in in_vain(specs[name], said):
            raise SpecError(read.problem(("tables", name, field), why), todo=todo)
    return specs


def _refuse_another_name(content: TablesFile, read: YamlFile) -> None:
    """A table has the name that it stands under; a field of another one would do nothing."""
    names = {("tables", name): name for name in content.tables}
    for place, name in ((("defaults",), None), *names.items()):
        said = content.tables[name] if name else content.defaults
        own = (*place, "name")
        if said and said.get("name", name) != name and read.says(own):
            raise SpecError(
                read.problem(own, "not a field: a table's name is what it stands under"),
                todo="Leave it out, and write the name in the table's own line; what the source "
                "calls it, `source_table` says.",
            )


def _fields() -> list[str]:
    fields = TableSpec.model_fields.items()
    return [field.alias or name for name, field in fields if name != "name"]
