"""As much of GraphQL as trackers' clients send: a parser, and an executor that refuses what it does not know.

An object is a :class:`Node`: its fields are values, or functions of the field's arguments. A field or an argument that
a node does not have is an error that names it; nothing is answered with null because it was not thought of.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TOKENS = re.compile(
    r'(?P<skip>[\s,\ufeff]+|\#[^\n]*)|(?P<string>"(?:[^"\\\n]|\\.)*")|(?P<number>-?\d+(?:\.\d+)?)'
    r"|(?P<name>[_A-Za-z][_0-9A-Za-z]*)|(?P<mark>\.\.\.|[!$():=@\[\]{}|])"
)


class GraphQLError(Exception):
    """What a server says of a request that it does not carry out.

    ``status`` is the HTTP status that the answer has for this reason; None: the one that this server has for all others.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unknown(GraphQLError):
    """A field, an argument or a value that this server was never taught: a test must hear of it."""


class Node:
    """An object of a type, with its fields; ``also`` are the interfaces that it has."""

    def __init__(self, typename: str, fields: Mapping[str, Any], also: tuple[str, ...] = ()) -> None:
        self.typename = typename
        self.fields = fields
        self.types = {typename, *also}


class Document:
    """A parsed request."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self.operations: list[dict[str, Any]] = []
        self.fragments: dict[str, dict[str, Any]] = {}
        while self._at < len(self._tokens):
            word = self._peek()
            if word == "fragment":
                self._take()
                name = self._take()
                self._take("on")
                self.fragments[name] = {"on": self._take(), "selection": self._selection()}
            elif word in {"query", "mutation"} or word == "{":
                self.operations.append(self._operation())
            else:
                raise GraphQLError(f"a request does not begin with {word!r}")

    def _operation(self) -> dict[str, Any]:
        kind, name, variables = "query", "", {}
        if self._peek() != "{":
            kind = self._take()
            if self._peek() not in {"(", "{"}:
                name = self._take()
            if self._peek() == "(":
                variables = self._variables()
        return {"kind": kind, "name": name, "variables": variables, "selection": self._selection()}

    def _variables(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._take("(")
        while self._peek() != ")":
            self._take("$")
            name = self._take()
            self._take(":")
            required = self._type()
            default: Any = None
            if self._peek() == "=":
                self._take()
                default, required = self._value(), False
            found[name] = (required, default)
        self._take(")")
        return found

    def _type(self) -> bool:
        if self._peek() == "[":
            self._take()
            self._type()
            self._take("]")
        else:
            self._take()
        if self._at < len(self._tokens) and self._peek() == "!":
            self._take()
            return True
        return False

    def _selection(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        self._take("{")
        while self._peek() != "}":
            if self._peek() == "...":
                self._take()
                if self._peek() == "on":
                    self._take()
                    on: str | None = self._take()
                    found.append({"inline": on, "if": self._directives(), "selection": self._selection()})
                else:
                    found.append({"spread": self._take(), "if": self._directives()})
                continue
            key = name = self._take()
            if self._peek() == ":":
                self._take()
                name = self._take()
            arguments = self._arguments() if self._peek() == "(" else {}
            condition = self._directives()
            inner = self._selection() if self._peek() == "{" else None
            found.append({"key": key, "name": name, "arguments": arguments, "if": condition, "selection": inner})
        self._take("}")
        return found

    def _directives(self) -> list[tuple[str, Any]]:
        found = []
        while self._peek() == "@":
            self._take()
            name = self._take()
            if name not in {"include", "skip"}:
                raise Unknown(f"unknown directive @{name}")
            found.append((name, self._arguments()["if"]))
        return found

    def _arguments(self) -> dict[str, Any]:
        found = {}
        self._take("(")
        while self._peek() != ")":
            name = self._take()
            self._take(":")
            found[name] = self._value()
        self._take(")")
        return found

    def _value(self) -> Any:
        kind, text = self._tokens[self._at]
        self._at += 1
        if text == "$":
            return Variable(self._take())
        if text == "{":
            found = {}
            while self._peek() != "}":
                name = self._take()
                self._take(":")
                found[name] = self._value()
            self._take("}")
            return found
        if text == "[":
            many = []
            while self._peek() != "]":
                many.append(self._value())
            self._take("]")
            return many
        if kind == "string":
            return text[1:-1].encode().decode("unicode_escape")
        if kind == "number":
            return float(text) if "." in text else int(text)
        return {"true": True, "false": False, "null": None}.get(text, text)

    def _peek(self) -> str:
        if self._at >= len(self._tokens):
            raise GraphQLError("the request ends in the middle")
        return self._tokens[self._at][1]

    def _take(self, expected: str | None = None) -> str:
        found = self._peek()
        if expected is not None and found != expected:
            raise GraphQLError(f"{expected!r} was expected, and not {found!r}")
        self._at += 1
        return found


class Variable(str):
    """The name of a variable, where a value stands."""


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = _TOKENS.match(text, at)
        if match is None:
            raise GraphQLError(f"no GraphQL at {text[at : at + 20]!r}")
        at = match.end()
        if match.lastgroup != "skip":
            yield str(match.lastgroup), match.group()


def execute(document: Document, given: Mapping[str, Any], root: Node) -> dict[str, Any]:
    """Carry out the only operation of a request on the node that has all root fields."""
    (operation,) = document.operations
    variables = {}
    for name, (required, default) in operation["variables"].items():
        variables[name] = given.get(name, default) if given.get(name) is not None else default
        if required and variables[name] is None:
            raise GraphQLError(f"the variable ${name} is required")
    answer = _complete(root, operation["selection"], document, variables)
    assert isinstance(answer, dict)
    return answer


def _complete(
    value: Any, selection: list[dict[str, Any]] | None, document: Document, variables: Mapping[str, Any]
) -> Any:
    if isinstance(value, list):
        return [_complete(item, selection, document, variables) for item in value]
    if not isinstance(value, Node):
        if selection is not None and value is not None:
            raise GraphQLError(f"{value!r} has no fields to select")
        return value
    if selection is None:
        raise GraphQLError(f"select fields of {value.typename}")
    found: dict[str, Any] = {}
    for item in selection:
        if not all((_filled(when, variables) is True) is (name == "include") for name, when in item["if"]):
            continue
        if "spread" in item or "inline" in item:
            part = document.fragments[item["spread"]] if "spread" in item else {"on": item["inline"], **item}
            if part["on"] in value.types:
                _merge(found, _complete(value, part["selection"], document, variables))
            continue
        resolved = _field(value, item["name"], _filled(item["arguments"], variables))
        _merge(found, {item["key"]: _complete(resolved, item["selection"], document, variables)})
    return found


def _field(node: Node, name: str, arguments: dict[str, Any]) -> Any:
    if name == "__typename":
        return node.typename
    if name not in node.fields:
        raise Unknown(f'Cannot query field "{name}" on type "{node.typename}".')
    value = node.fields[name]
    if callable(value):
        try:
            return value(**arguments)
        except TypeError as error:
            raise Unknown(f"{node.typename}.{name}({', '.join(arguments)}): {error}") from error
    if arguments:
        raise Unknown(f'Unknown argument "{next(iter(arguments))}" on field "{node.typename}.{name}".')
    return value


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _filled(value: Any, variables: Mapping[str, Any]) -> Any:
    if isinstance(value, Variable):
        return variables.get(str(value))
    if isinstance(value, dict):
        return {key: _filled(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, variables) for item in value]
    return value
