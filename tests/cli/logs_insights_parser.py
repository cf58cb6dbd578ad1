"""A parser for the part of the Logs Insights query language that the runbook uses. Anything else is an error.

The syntax is AWS's (CloudWatch Logs, "CloudWatch Logs Insights language query syntax"). The parser returns which fields
a query reads, which it makes, and which texts it compares them with. Tests check these against the functions' logs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

BUILT_IN_FIELDS = frozenset({"@timestamp", "@message", "@log", "@requestId", "@type", "@initDuration"})
"""The fields that Logs Insights finds in every line or in Lambda's own lines, as far as the runbook uses them."""

_AGGREGATES = frozenset({"count", "sum", "avg", "min", "max", "pct", "latest", "earliest"})
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<text>"[^"]*")
    | (?P<regex>/(?:[^/\\]|\\.)+/i?)
    | (?P<number>\d+[smhd]?\b)
    | (?P<name>@?[A-Za-z_][\w.]*)
    | (?P<sign>>=|<=|!=|[=<>(),\[\]*|])
    )""",
    re.VERBOSE,
)


class QueryError(Exception):
    """The text is not a query that this parser supports."""


@dataclass
class Query:
    """The fields that a query reads and makes, and the texts that it compares fields with."""

    reads: set[str] = field(default_factory=set)
    makes: set[str] = field(default_factory=set)
    compares: set[tuple[str, str]] = field(default_factory=set)


def parse(text: str) -> Query:
    """Parse a query. Raises QueryError."""
    return _Parser(text).query


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self.query = Query()
        commands: Mapping[str, Callable[[], None]] = {
            "fields": self._fields,
            "filter": self._either,
            "stats": self._stats,
            "sort": self._sort,
            "limit": self._limit,
        }
        while True:
            kind, word = self._next()
            if kind != "name" or word not in commands:
                raise QueryError(f"unknown command: {word}")
            commands[word]()
            if not self._tokens:
                return
            self._expect("|")

    def _fields(self) -> None:
        self._list(self._read)

    def _stats(self) -> None:
        self._list(self._aggregate)
        if self._take("by"):
            self._list(self._group)

    def _sort(self) -> None:
        self._read()
        if not (self._take("asc") or self._take("desc")):
            raise QueryError("sort needs asc or desc")

    def _limit(self) -> None:
        kind, number = self._next()
        if kind != "number" or not number.isdigit():
            raise QueryError(f"not a whole number: {number}")

    def _aggregate(self) -> None:
        kind, function = self._next()
        if kind != "name" or function not in _AGGREGATES:
            raise QueryError(f"unknown function: {function}")
        self._expect("(")
        if not self._take("*"):
            self._read()
            if self._take(","):
                self._limit()
        self._expect(")")
        self._expect("as")
        self.query.makes.add(self._name())

    def _group(self) -> None:
        name = self._name()
        if name == "bin":
            self._expect("(")
            if self._next()[0] != "number":
                raise QueryError("bin needs a period such as 5m")
            self._expect(")")
        else:
            self.query.reads.add(name)

    def _either(self) -> None:
        self._both()
        while self._take("or"):
            self._both()

    def _both(self) -> None:
        self._one()
        while self._take("and"):
            self._one()

    def _one(self) -> None:
        if self._take("("):
            self._either()
            self._expect(")")
            return
        if self._take("ispresent"):
            self._expect("(")
            self._read()
            self._expect(")")
            return
        name = self._read()
        kind, word = self._next()
        if word == "like":
            if self._next()[0] != "regex":
                raise QueryError("like needs a regular expression")
        elif word == "in":
            self._expect("[")
            self._list(lambda: self._compared(name))
            self._expect("]")
        elif kind == "sign" and word in {"=", "!=", "<", ">", "<=", ">="}:
            self._compared(name)
        else:
            raise QueryError(f"unknown operator after {name}: {word}")

    def _compared(self, name: str) -> None:
        kind, word = self._next()
        if kind == "text":
            self.query.compares.add((name, word[1:-1]))
        elif kind != "number":
            raise QueryError(f"{name} cannot be compared with {word}")

    def _read(self) -> str:
        name = self._name()
        if name not in self.query.makes:
            self.query.reads.add(name)
        return name

    def _name(self) -> str:
        kind, name = self._next()
        if kind != "name":
            raise QueryError(f"not a name: {name}")
        return name

    def _list(self, one: Callable[[], object]) -> None:
        one()
        while self._take(","):
            one()

    def _take(self, word: str) -> bool:
        if self._tokens and self._tokens[0][1] == word:
            del self._tokens[0]
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._take(word):
            raise QueryError(f"{word} is missing before {self._tokens[:1]}")

    def _next(self) -> tuple[str, str]:
        if not self._tokens:
            raise QueryError("the query ends too early")
        return self._tokens.pop(0)


def _tokens(text: str) -> Iterable[tuple[str, str]]:
    position, text = 0, text.strip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise QueryError(f"unexpected text: {text[position : position + 20]!r}")
        position = found.end()
        yield str(found.lastgroup), found[str(found.lastgroup)]


def fields_of(line: str) -> Mapping[str, Any]:
    """Return the fields Logs Insights finds in a JSON line: `a.b` for a nested field, `a.0` for a list's first item."""
    try:
        content = json.loads(line)
    except ValueError:
        return {}
    return dict(_flat("", content)) if isinstance(content, dict) else {}


def _flat(path: str, content: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(content, dict | list):
        parts = content.items() if isinstance(content, dict) else enumerate(content)
        for name, part in parts:
            yield from _flat(f"{path}.{name}" if path else str(name), part)
    else:
        yield path, content
