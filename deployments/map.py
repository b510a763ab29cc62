"""The map of the code, written from the code: rooms, imports, and what each room may import.

    python -m deployments.map

puts it into `docs/architecture.md`, and what stands in the code about Ferry's own tables and errors
into `docs/reference.md`, each between two markers. What people write around them stays.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from deployments import described

ROOT = Path(__file__).parents[1]
CODE = ("flows", "tasks", "blocks", "ferry", "deployments")
ROOMS = (*CODE, "tests")


class MapError(ValueError):
    """A page has no place for a part of the map."""


def main() -> None:
    """Write both pages anew."""
    for name, parts in pages().items():
        page = ROOT / "docs" / name
        text = page.read_text(encoding="utf-8")
        for part, lines in parts.items():
            text = replaced(text, part, lines)
        page.write_text(text, encoding="utf-8")


def pages() -> dict[str, dict[str, list[str]]]:
    """What the code says: for each page in `docs/`, the lines of each of its parts."""
    return {
        "architecture.md": {
            "rooms": rooms_table(),
            "imports": drawing(),
            "may import": allowed(),
        },
        "reference.md": described.parts(ROOT),
    }


def replaced(text: str, part: str, lines: Sequence[str]) -> str:
    """The page with these lines in the place of that part.

    Raises:
        MapError: The page has not both of its markers, each on a line of its own.
    """
    begin, end = f"<!-- {part}: begin -->\n", f"<!-- {part}: end -->\n"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise MapError(f"the page has not both markers: {begin.strip()} and {end.strip()}")
    return before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after


def folders() -> list[Path]:
    """Every folder of the rooms that has Python files, relative to the root, in order."""
    found = {file.parent for room in ROOMS for file in (ROOT / room).rglob("*.py")}
    order = {room: number for number, room in enumerate(ROOMS)}
    return sorted(
        (folder.relative_to(ROOT) for folder in found),
        key=lambda folder: (order[folder.parts[0]], folder.parts),
    )


def files(folder: Path) -> list[Path]:
    """The Python files of a folder, without those of the folders in it."""
    return sorted((ROOT / folder).glob("*.py"))


def purpose(folder: Path) -> str:
    """The first line of the docstring of the folder's `__init__.py`, or of its `__main__.py`.

    A folder of tests that has neither says it in the first line of its `README.md`, or mirrors a
    folder of the code.
    """
    for name in ("__init__.py", "__main__.py"):
        file = ROOT / folder / name
        docstring = ast.get_docstring(ast.parse(file.read_text("utf-8"))) if file.exists() else None
        if docstring:
            return docstring.splitlines()[0]
    readme = ROOT / folder / "README.md"
    if readme.exists():
        return readme.read_text("utf-8").splitlines()[0]
    mirrored = Path(*folder.parts[1:])
    if folder.parts[0] == "tests" and mirrored.parts and (ROOT / mirrored).is_dir():
        return f"The tests of `{mirrored}/`."
    return ""


def rooms_table() -> list[str]:
    """A row for each folder: what it is for, and how many files it has."""
    rows = [f"| `{each}/` | {purpose(each)} | {len(files(each))} |" for each in folders()]
    return ["| folder | purpose | files |", "| --- | --- | ---: |", *rows]


def room_of(folder: Path) -> str:
    """The room that a folder is drawn as: the first two of its names."""
    return "/".join(folder.parts[:2])


def imports() -> set[tuple[str, str]]:
    """Which room of the code imports which other one, at any place of a file."""
    return {
        (room_of(folder), room_of(imported))
        for folder in folders()
        if folder.parts[0] in CODE
        for file in files(folder)
        for imported in imported_by(file)
        if room_of(imported) != room_of(folder)
    }


def imported_by(file: Path) -> Iterator[Path]:
    """The folders of the modules of the code that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{each.name}" for each in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] in CODE:
                yield _folder_of(parts)


def _folder_of(parts: Sequence[str]) -> Path:
    """The folder of the module that a dotted name leads to, however far beyond it the name goes."""
    for length in range(len(parts), 0, -1):
        path = Path(*parts[:length])
        if (ROOT / path).is_dir():
            return path
        if (ROOT / path).with_suffix(".py").is_file():
            return path.parent
    raise MapError(f"no module of the code: {'.'.join(parts)}")


def drawing() -> list[str]:
    """Two drawings: the imports between the top folders, and those within each of them."""
    edges = imports()
    between = {(a.split("/")[0], b.split("/")[0]) for a, b in edges}
    within = sorted((a, b) for a, b in edges if a.split("/")[0] == b.split("/")[0])
    order = [(a, b) for a in CODE for b in CODE if a != b and (a, b) in between]
    lines = ["```mermaid", "flowchart TD", *(f"  {a} --> {b}" for a, b in order), "```", ""]
    lines += ["```mermaid", "flowchart TD"]
    for top, pairs in groupby(within, key=lambda pair: pair[0].split("/")[0]):
        lines += [f'  subgraph in_{top}["{top}/"]', *_nodes_and_arrows(pairs), "  end"]
    return [*lines, "```"]


def _nodes_and_arrows(pairs: Iterable[tuple[str, str]]) -> list[str]:
    arrows = list(pairs)
    rooms = sorted({room for pair in arrows for room in pair})
    nodes = [f'    {_id(room)}["{_label(room)}"]' for room in rooms]
    return [*nodes, *(f"    {_id(a)} --> {_id(b)}" for a, b in arrows)]


def _id(room: str) -> str:
    return room.replace("/", "_") + "_room"  # not a word of Mermaid's own


def _label(room: str) -> str:
    return f"{room}/" if "/" in room else f"{room}/*.py"


def allowed() -> list[str]:
    """What the contracts in `pyproject.toml` let each top folder import, and their names."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if set(each.get("layers", ())) == set(CODE))
    rows = [
        f"| `{layer}/` | {', '.join(f'`{below}/`' for below in layers[number + 1 :]) or 'none'} |"
        for number, layer in enumerate(layers)
    ]
    return [
        "| room | other rooms that it may import |",
        "| --- | --- |",
        *rows,
        "",
        "The contracts that `make lint` holds all imports against:",
        "",
        *(f"- {each['name']}" for each in contracts),
    ]


if __name__ == "__main__":
    main()
