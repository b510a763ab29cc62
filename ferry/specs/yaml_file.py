"""YAML files of specs: read with their lines, so that a mistake is told with its place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ferry.errors import SpecError

PathElement = str | int

_Loader: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
"""libyaml reads a file in a tenth of the time."""

_NUMBERS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_PLAIN_NUMBER = re.compile(r"0|-?[1-9][0-9]*|-?(0|[1-9][0-9]*)[.][0-9]*[1-9]")
"""The numbers that are written as they are meant: not 01, 0x1F, 12:30 (which is 750) or 1.0."""

_TIME_IN_SECONDS = re.compile(r"[-+]?[0-9_]+:[0-9]+:[0-9]+")
"""A number of seconds as hours, minutes and seconds: 24:00:00 is 86400, as it says."""

_TYPE_NAME = re.compile(r"str|int|float|bool|date|\w+\[.*\]")


@dataclass(frozen=True)
class YamlFile:
    """The content of a YAML file, and where in it each part stands.

    Attributes:
        name: The file's name, for messages.
        data: Its content.
        root: Its nodes, which know their lines.
    """

    name: str
    data: Any
    root: yaml.Node | None

    def line(self, path: Sequence[PathElement], otherwise: int = 1) -> int:
        """The line of the deepest part on the path; `otherwise` if even its first is missing."""
        node = self.root
        line = node.start_mark.line + 1 if node and not path else otherwise
        for depth, step in enumerate(path):
            found = _inside(node, step)
            if found is None:
                last = depth == len(path) - 1
                return otherwise if last and otherwise != 1 else line
            line = found[0].start_mark.line + 1
            if not isinstance(found[1], yaml.ScalarNode):  # else a union's tag: a field beside it
                node = found[1]
        return line

    def is_blank(self, path: Sequence[PathElement]) -> bool:
        """Whether the field stands there with nothing after its colon."""
        node: yaml.Node | None = self.root
        for step in path:
            found = _inside(node, step) or _inside(_merged(node), step)
            node = found[1] if found else None
        return isinstance(node, yaml.ScalarNode) and not (node.value or node.style)

    def says(self, path: Sequence[PathElement]) -> bool:
        """Whether it stands there itself, and is not taken over by `<<`."""
        node = self.root
        for step in path:
            found = _inside(node, step)
            if found is None:
                return False
            node = found[1]
        return True

    def problem(self, path: Sequence[PathElement], message: str, line: int | None = None) -> str:
        """`file:line: field: what is wrong with it`."""
        field = ".".join(str(step) for step in path)
        where = f"{self.name}:{line or self.line(path)}"
        return f"{where}: {field}: {message}" if field else f"{where}: {message}"

    def spec_error(
        self, error: ValidationError, known: Iterable[str], at: Sequence[PathElement] = ()
    ) -> SpecError:
        """The error of a model, with file, line and field of everything that is wrong.

        Args:
            error: What pydantic found.
            known: The fields that there are.
            at: Where the model stands in the file.
        """
        known, details = list(known), error.errors(include_url=False, include_input=False)
        problems: dict[tuple[PathElement, ...], tuple[int, tuple[PathElement, ...], list[str]]] = {}
        for number, detail in enumerate(details):
            named = (*at, *detail["loc"])
            path = self._written(named, at)
            line = self.line(path)
            if at and path != tuple(at) and line == self.line(at):  # it came from the defaults
                line = self.line(("defaults", *path[len(at) :]), line)
            one = path if path != named else (*path, number)  # a value's types are told as one
            texts = problems.setdefault(one, (line, path, []))[2]
            texts.append(self._explained(detail, path, at, known))
        unknown = any(detail["type"] == "extra_forbidden" for detail in details)
        return SpecError(
            "\n".join(
                self.problem(path, "; or ".join(texts), line)
                for line, path, texts in problems.values()
            ),
            todo=f"Known fields: {', '.join(known)}." if unknown else "Correct it.",
        )

    def _written(
        self, path: tuple[PathElement, ...], at: Sequence[PathElement]
    ) -> tuple[PathElement, ...]:
        """The path without the name that pydantic gives to one of the types that a value may have.

        The name of a tagged model stays: the fields beside the tag follow it.
        """
        value = self._value(path[:-1], at) if len(path) > len(at) + 1 else None
        is_type = _TYPE_NAME.fullmatch(str(path[-1])) if path else None
        scalar = value is not None and not isinstance(value, dict | list)
        return path[:-1] if is_type and scalar else path

    def _explained(
        self,
        detail: ErrorDetails,
        path: tuple[PathElement, ...],
        at: Sequence[PathElement],
        known: list[str],
    ) -> str:
        """What is wrong with a value, and what is expected."""
        kind, context = detail["type"], detail.get("ctx", {})
        if kind == "literal_error":
            words = re.findall(r"'([^']*)'", str(context.get("expected")))
            meant = _like(self._value(path, at), words)
            return f"expected one of {', '.join(words)}{meant}"
        if kind == "tuple_type":
            value = self._value(path, at)
            shown = "…" if value is None or isinstance(value, dict) else value
            return f"expected a list, `{path[-1]}: [{shown}]`"
        message = detail["msg"].removeprefix("Value error, ")
        return message + (_like(path[-1], known) if kind == "extra_forbidden" else "")

    def _value(self, path: Sequence[PathElement], at: Sequence[PathElement]) -> Any:
        """What stands there, or else in the defaults; None if nothing does."""
        own = _reach(self.data, path)
        return _reach(self.data, ("defaults", *path[len(at) :])) if own is None and at else own


def _reach(data: Any, path: Sequence[PathElement]) -> Any:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _like(said: Any, words: list[str]) -> str:
    """Which of the words a misspelled one is most like."""
    meant = get_close_matches(str(said), words, n=1)
    return f"; did you mean {meant[0]}?" if meant else ""


def read_yaml(text: str, name: str) -> YamlFile:
    """The YAML text with its lines.

    Args:
        text: The content of the file.
        name: Its name, for messages.

    Raises:
        SpecError: It is not YAML, a field stands there twice, a date is on no calendar, or a number
            is not what is written.
    """
    root: yaml.Node | None = None
    try:
        root = yaml.compose(text, Loader=_Loader)
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        raise SpecError(
            f"{where}: not readable as YAML", found=getattr(error, "problem", None)
        ) from error
    except ValueError as error:  # a day that there is not; its own text has no place
        line = _line_of_no_value(root)
        raise SpecError(
            f"{name}:{line}: not readable as YAML" if line else f"{name}: not readable as YAML",
            found="a date or a time that there is not",
            todo="Correct it.",
        ) from error
    _refuse_unclear(root, name)
    return YamlFile(name, data, root)


def _line_of_no_value(node: yaml.Node | None) -> int | None:
    """The line of the first part that looks like a value, such as a date, and is none."""
    if isinstance(node, yaml.ScalarNode):
        try:
            yaml.safe_load(node.value) if not node.style else None
        except ValueError:
            return node.start_mark.line + 1
        except yaml.YAMLError:
            return None
        return None
    parts = node.value if isinstance(node, yaml.CollectionNode) else []
    inner = (each for part in parts for each in (part if isinstance(part, tuple) else (part,)))
    return next((line for each in inner if (line := _line_of_no_value(each))), None)


def _inside(node: yaml.Node | None, step: PathElement) -> tuple[yaml.Node, yaml.Node] | None:
    """The node that tells the step's line, and the one that holds its content."""
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    if isinstance(node, yaml.MappingNode):
        return next(((k, v) for k, v in node.value if k.value == str(step)), None)
    return None


def _merged(node: yaml.Node | None) -> yaml.Node | None:
    """What a mapping takes over by `<<`; of several, all in one."""
    found = _inside(node, "<<")
    if found is None or not isinstance(found[1], yaml.SequenceNode):
        return found[1] if found else None
    pairs = [pair for each in found[1].value for pair in getattr(each, "value", ())]
    return yaml.MappingNode(found[1].tag, pairs)


def _is_another(number: str) -> bool:
    """Whether it is another number to YAML than is written: 24:00 is 1440, and 0100 is 64."""
    if ":" in number:
        return not _TIME_IN_SECONDS.fullmatch(number)
    digits = number.lstrip("+-").replace("_", "")
    return digits.isdecimal() and int(digits) != abs(yaml.safe_load(number))


def _refuse_unclear(node: yaml.Node | None, name: str) -> None:
    """Refuse a field that stands there twice, and a number that is another to YAML.

    In a list a number may be meant as a text, so that there even 1.0 is none that is plain.
    """
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            if item.tag in _NUMBERS and not _PLAIN_NUMBER.fullmatch(item.value):
                raise SpecError(
                    f"{name}:{item.start_mark.line + 1}: {item.value} is no text to YAML, but the "
                    f"number {yaml.safe_load(item.value)}",
                    todo="Write a text in quotes, and a number in plain digits.",
                )
            _refuse_unclear(item, name)
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            raise SpecError(
                f"{name}:{key.start_mark.line + 1}: {key.value} stands there twice",
                todo="Keep one of them.",
            )
        seen.add(key.value)
        if value.tag in _NUMBERS and _is_another(value.value):
            raise SpecError(
                f"{name}:{value.start_mark.line + 1}: {key.value}: {value.value} is the number "
                f"{yaml.safe_load(value.value)} to YAML",
                todo="Write a number in plain digits, such as 86400, and a text in quotes, such as "
                'a time of the day, "09:30".',
            )
        _refuse_unclear(value, name)
