"""Every link from one page to another leads somewhere, and every page can be reached."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(r"`((?:ferry|blocks|tasks|flows|deployments|tests)/[\w/]+\.py)")
NAME_AND_FILE = re.compile(r"`([\w.]+)`\s+(?:of|in)\s+" + FILE.pattern)


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)


def links(page: Path) -> list[tuple[Path, str]]:
    """Where a page leads to within the repository: the file, and the heading in it."""
    found = [each for each in LINK.findall(without_code(page)) if "://" not in each]
    parts = [each.partition("#") for each in found]
    return [((page.parent / path).resolve() if path else page, name) for path, _, name in parts]


def anchors(page: Path) -> set[str]:
    """The headings as links name them: as GitHub does, and GitLab."""
    heads = re.findall(r"^#+ (.*)$", without_code(page), re.M)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = [str(path) for path, _ in links(page) if not path.exists()]
    assert lost == []
    headless = [
        f"{path.name}#{name}"
        for path, name in links(page)
        if name and path.suffix == ".md" and name not in anchors(path)
    ]
    assert headless == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_is_there_and_has_what_is_said_to_be_in_it(page: Path) -> None:
    text = page.read_text()
    named = [("", file) for file in FILE.findall(text)] + NAME_AND_FILE.findall(text)
    lost = [
        f"{name} in {file}"
        for name, file in named
        if "acme" not in name + file  # it is still to be written, by whoever adds an engine
        and not ((ROOT / file).exists() and _has(ROOT / file, name.rpartition(".")[2]))
    ]
    assert lost == []


def _has(file: Path, name: str) -> bool:
    return not name or bool(re.search(rf"\b{name}\b", file.read_text()))


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        for path, _ in links(page):
            waiting += sorted(path.glob("*.md")) if path.is_dir() else [path]
        waiting = [each for each in waiting if each.suffix == ".md"]
    assert [str(each.relative_to(ROOT)) for each in PAGES if each not in seen] == []
