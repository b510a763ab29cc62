"""A SELECT as its author wrote it: where its parts stand in the text, and what is put in there.

sqlglot's tree tells what a query reads and compares. A warehouse that speaks the query's own SQL is
sent the text itself: written anew from the tree, Redshift's `ADD_MONTHS(d, 1)` would come out as
`DATEADD(MONTH, 1, d)`, which is another day at the end of a month, and `TO_DATE(s, f, TRUE)`
without its `TRUE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from sqlglot import Dialect, exp
from sqlglot.tokens import Token, TokenType

from ferry.statements import PARAM

TextSpan = tuple[int, int]
"""Where something begins in a text, and the first character after it."""


@dataclass(frozen=True)
class QueryText:
    """The text of a query.

    Attributes:
        sql: From its first word to its last, with the comments before and between.
        spans: Where each word and sign stands; comments are none.
    """

    sql: str
    spans: tuple[TextSpan, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Its words and signs as they are written, whatever blanks and comments are between."""
        return tuple(self.sql[start:end] for start, end in self.spans)

    def span_of(self, node: exp.Expression) -> TextSpan:
        """Where a parameter of the query's tree stands, or parentheses and casts around one."""
        around = []
        while isinstance(node, (exp.Paren, exp.Cast)):
            around.append(node)
            node = node.this
        words = self.words
        first = next(n for n, (start, _) in enumerate(self.spans) if start == node.meta["start"])
        last = first + 1
        for each in reversed(around):
            if isinstance(each, exp.Cast) and words[last + 1] == "::":
                last = _end_of_type(words, last + 2)
            else:
                first, last = _opening(words, first), _closing(words, last)
                first -= isinstance(each, exp.Cast)  # CAST(… AS …)
        return self.spans[first][0], self.spans[last][1]

    def with_parts(self, parts: Mapping[TextSpan, str]) -> str:
        """The text with these parts in place of what stands there."""
        text = self.sql
        for (start, end), part in sorted(parts.items(), reverse=True):
            # A bracket or a quote that is gone stood between two words.
            after = text[end : end + 1]
            blank = " " if after.isalnum() or after in ('"', "_") else ""
            text = text[:start] + part + blank + text[end:]
        return text


def _opening(words: Sequence[str], first: int) -> int:
    """The bracket that opens before this word and is not closed before it."""
    depth = 1
    while depth:
        first -= 1
        depth += (words[first] == ")") - (words[first] == "(")
    return first


def _closing(words: Sequence[str], last: int) -> int:
    """The bracket that closes after this word and was not opened after it."""
    depth = 1
    while depth:
        last += 1
        depth += (words[last] == "(") - (words[last] == ")")
    return last


def _end_of_type(words: Sequence[str], last: int) -> int:
    """The last word of a type of time, such as TIMESTAMP (6) WITH TIME ZONE."""
    if words[last + 1 : last + 2] == ("(",):
        last = _closing(words, last + 1)
    zone = [word.upper() for word in words[last + 1 : last + 4]]
    return last + 3 * (zone in (["WITH", "TIME", "ZONE"], ["WITHOUT", "TIME", "ZONE"]))


def read(text: str, dialect: str) -> tuple[QueryText, list[exp.Expression]]:
    """The text without semicolons and what follows the last word, and sqlglot's trees of it.

    A parameter, such as `:window_start`, has its place among its `meta`, as names have.

    Raises:
        SqlglotError: It cannot be read.
    """
    speaks = Dialect.get_or_raise(dialect)
    tokens = speaks.tokenize(text)
    trees = [tree for tree in speaks.parser().parse(_placed(tokens), text) if tree and tree.args]
    for node in (node for tree in trees for node in tree.walk()):
        for key, value in list(node.args.items()):
            if isinstance(value, str) and PARAM in value:
                name, _, start = value.rpartition(PARAM)
                node.set(key, name)
                if isinstance(node, exp.Placeholder):
                    node.meta["start"] = int(start)
    for each in tokens:
        if each.token_type is TokenType.SEMICOLON:
            text = f"{text[: each.start]} {text[each.end + 1 :]}"
    spans = tuple(
        (each.start, each.end + 1) for each in tokens if each.token_type is not TokenType.SEMICOLON
    )
    return QueryText(text[: spans[-1][1]] if spans else "", spans), trees


def _placed(tokens: Sequence[Token]) -> list[Token]:
    """The tokens, with the place of its colon behind the name of what may be a parameter.

    sqlglot itself keeps the spans of names only. What is none after all, such as the bound of an
    array, is given its name back in the tree. A function is none.
    """
    placed = list(tokens)
    for n, (colon, name) in enumerate(pairwise(tokens)):
        if colon.token_type is not TokenType.COLON or name.token_type is not TokenType.VAR:
            continue
        if [each.token_type for each in tokens[n + 2 : n + 3]] != [TokenType.L_PAREN]:
            text = f"{name.text}{PARAM}{colon.start}"
            placed[n + 1] = Token(TokenType.VAR, text, name.line, name.col, name.start, name.end)
    return placed
