"""Where a docstring lists parameters, or fields of a dataclass, it lists those that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(
    file.relative_to(ROOT)
    for room in ("ferry", "blocks", "tasks", "flows")
    for file in (ROOT / room).rglob("*.py")
)
SECTION = re.compile(r"^(?:Args|Attributes|Returns|Yields|Raises|Example|Examples|Note):$")
NAME = re.compile(r"^    \*{0,2}(\w+)(?: \([^)]*\))?: ")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def named(docstring: str, section: str) -> list[str] | None:
    """The names that a section of a docstring describes; None if it has no such section."""
    lines = docstring.splitlines()
    if section not in lines:
        return None
    names = []
    for line in lines[lines.index(section) + 1 :]:
        if SECTION.match(line) or (line and not line.startswith(" ")):
            break
        names += NAME.findall(line)
    return names


def parameters(function: Function) -> list[str]:
    """The parameters that a caller gives, in their order."""
    args = function.args
    rest = [each for each in (args.vararg, args.kwarg) if each]
    names = [each.arg for each in (*args.posonlyargs, *args.args, *args.kwonlyargs, *rest)]
    return [each for each in names if each not in ("self", "cls")]


def fields(of: ast.ClassDef) -> list[str]:
    """The public fields of a class: what is annotated in its body and is no constant."""
    return [
        each.target.id
        for each in of.body
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and not each.target.id.startswith("_")
        and "ClassVar" not in ast.unparse(each.annotation)
    ]


def is_dataclass(of: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(each) for each in of.decorator_list)


def wrong(tree: ast.Module) -> Iterator[tuple[str, list[str], list[str]]]:
    """What docstrings say of parameters and fields, where that is not what there is."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring = ast.get_docstring(node) or ""
        if (given := named(docstring, "Args:")) is not None:
            there = parameters(_made_by(node) if isinstance(node, ast.ClassDef) else node)
            if given != there:
                yield node.name, given, there
        if isinstance(node, ast.ClassDef) and is_dataclass(node):
            given = named(docstring, "Attributes:")
            if given is not None and given != fields(node):
                yield node.name, given, fields(node)


def _made_by(of: ast.ClassDef) -> Function:
    """What makes one of the class."""
    return next(
        (each for each in of.body if isinstance(each, Function) and each.name == "__init__"),
        ast.parse("def __init__(): ...").body[0],  # type: ignore[return-value]
    )


def test_docstrings_name_the_parameters_and_fields_that_there_are() -> None:
    trees = ((file, ast.parse((ROOT / file).read_text(encoding="utf-8"))) for file in FILES)
    assert {file: found for file, tree in trees if (found := list(wrong(tree)))} == {}


def test_a_name_that_is_missing_left_over_or_out_of_order_is_found() -> None:
    text = '''
def carry(batch, *, how=None):
    """Carry it.

    Args:
        batch: What.
        when: A parameter that there was.
    """

@dataclass
class Found:
    """What was found.

    Attributes:
        b: Second.
        a: First.

    """

    a: int
    b: int
'''
    assert list(wrong(ast.parse(text))) == [
        ("carry", ["batch", "when"], ["batch", "how"]),
        ("Found", ["b", "a"], ["a", "b"]),
    ]
    assert len(FILES) > 200
