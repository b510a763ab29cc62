"""SQL text as tokens, so that words inside literals and comments never trigger a rule.

sqlglot's Redshift tokenizer does the reading. Its list of commands is emptied: it would swallow
what follows words such as SHOW or EXECUTE as one opaque string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from sqlglot.dialects.redshift import Redshift
from sqlglot.errors import TokenError

from deployments.local.redshift_double.errors import Refusal

_Tokenizer: Any = type("_Tokenizer", (Redshift.Tokenizer,), {"COMMANDS": set()})
_TOKENIZER = _Tokenizer(dialect="redshift")
_WORD = re.compile(r"[^\W\d]")


@dataclass(frozen=True, slots=True)
class Token:
    """One token.

    Attributes:
        kind: word, quoted (an identifier in double quotes), string, number or symbol.
        text: A word in upper case, an identifier or literal without its quotes, else as it is.
        start: Offset of the first character in the statement's text.
        end: Offset after the last one.
    """

    kind: str
    text: str
    start: int
    end: int

    @property
    def word(self) -> str:
        """The word in upper case, or the symbol; empty for names in quotes and for literals."""
        return self.text if self.kind in {"word", "symbol"} else ""

    @property
    def name(self) -> str:
        """The name it stands for as an identifier: Redshift folds quoted ones, too."""
        return self.text.lower()


@dataclass(frozen=True)
class Statement:
    """One statement and its tokens; offsets of the tokens refer to ``text``."""

    text: str
    tokens: tuple[Token, ...]

    @cached_property
    def shape(self) -> str:
        """The tokens in one line: words in upper case, names ``"i"``, literals ``'s'`` and ``0``.

        Rules are regular expressions over this, never over the text.
        """
        stand_in = {"quoted": '"i"', "string": "'s'", "number": "0"}
        return " ".join(stand_in.get(token.kind, token.text) for token in self.tokens)

    def word(self, index: int) -> str:
        """Returns the word at an index, or an empty string."""
        return self.tokens[index].word if index < len(self.tokens) else ""

    def slice(self, first: int, last: int) -> str:
        """Returns the text of the tokens from first up to, not including, last."""
        if last <= first:
            return ""
        return self.text[self.tokens[first].start : self.tokens[last - 1].end]

    def closing(self, opening: int) -> int:
        """Returns the index of the bracket that closes the one at ``opening``."""
        depth = 0
        for index in range(opening, len(self.tokens)):
            depth += {"(": 1, ")": -1}.get(self.word(index), 0)
            if depth == 0:
                return index
        raise Refusal("syntax error at end of input", "42601")

    def items(self, opening: int) -> list[tuple[int, int]]:
        """Returns the index ranges between the commas of a bracketed list."""
        end, depth, first, found = self.closing(opening), 0, opening + 1, []
        for index in range(opening + 1, end):
            word = self.word(index)
            depth += {"(": 1, ")": -1}.get(word, 0)
            if word == "," and depth == 0:
                found.append((first, index))
                first = index + 1
        found.append((first, end))
        return found

    def qualified_name(self, first: int) -> int:
        """Returns the index after a dotted name that starts at ``first``."""
        index = first + 1
        while self.word(index) == ".":
            index += 2
        return index


class Edits:
    """Replacements in a statement's text, made all at once."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._changes: list[tuple[int, int, str]] = []

    def replace(self, first: int, last: int, text: str) -> None:
        """Puts text in the place of the tokens from first up to, not including, last."""
        tokens = self._statement.tokens
        if last > first:
            self._changes.append((tokens[first].start, tokens[last - 1].end, text))

    def before(self, index: int, text: str) -> None:
        """Puts text in front of a token."""
        at = self._statement.tokens[index].start
        self._changes.append((at, at, text))

    def after(self, index: int, text: str) -> None:
        """Puts text behind a token."""
        at = self._statement.tokens[index].end
        self._changes.append((at, at, text))

    def apply(self) -> str:
        """Returns the changed text; a change inside a removed stretch is dropped."""
        out, at, text = [], 0, self._statement.text
        for start, end, new in sorted(self._changes, key=lambda c: (c[0], -c[1])):
            if start < at:
                continue
            out += [text[at:start], new]
            at = end
        return "".join([*out, text[at:]])


def _token(raw: Any, text: str, base: int) -> Token:
    kind, start, end = _kind(raw.token_type), raw.start - base, raw.end + 1 - base
    if kind:
        return Token(kind, raw.text, start, end)
    if _WORD.match(raw.text):
        return Token("word", " ".join(raw.text.upper().split()), start, end)
    return Token("symbol", text[start:end], start, end)


@cache
def _kind(token_type: Any) -> str:
    """The kind of a token that its type tells; it does not of words and symbols."""
    if token_type.name.endswith("STRING"):
        return "string"
    return {"IDENTIFIER": "quoted", "NUMBER": "number"}.get(token_type.name, "")


def split(sql: str) -> Iterator[Statement]:
    """Yields the statements of a query text, without the semicolons between them.

    Raises:
        Refusal: A quote or comment is not closed.
    """
    try:
        raw_tokens = _TOKENIZER.tokenize(sql)
    except TokenError as error:
        raise Refusal("unterminated quoted string or comment", "42601") from error
    run: list[Any] = []
    for raw in [*raw_tokens, None]:
        if raw is not None and raw.token_type.name != "SEMICOLON":
            run.append(raw)
        elif run:
            base, end = run[0].start, run[-1].end + 1
            text = sql[base:end]
            yield Statement(text, tuple(_token(token, text, base) for token in run))
            run = []
