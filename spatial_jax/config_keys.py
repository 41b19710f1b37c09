"""Every key of a configuration with its type, its default and its comment, read out of the dataclasses' own source."""

from __future__ import annotations

import dataclasses
import inspect
import io
import re
import tokenize
import types
import typing
from collections.abc import Iterator
from typing import Any

from spatial_jax.ranges import Choice, rules_of

_FIELD = re.compile(r"    (\w+)\s*:")


@dataclasses.dataclass(frozen=True)
class Key:
    """One setting: its dotted name, what it may be, its default as the command line takes it, what it means."""

    name: str
    kind: str
    default: str
    comment: str


def keys_of(kind: type, where: str = "config") -> Iterator[Key]:
    """The keys of a dataclass of settings and of those within it, in their order."""
    hints, comments = typing.get_type_hints(kind, include_extras=True), field_comments(kind)
    for field in dataclasses.fields(kind):
        name, hint = f"{where}.{field.name}", hints[field.name]
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from keys_of(hint, name)
        else:
            yield Key(name, describe(hint), repr(field.default), comments.get(field.name, ""))


def keys_text(kind: type) -> str:
    """The keys for a console: a heading a section with what its dataclass says, a line a key."""
    out, hints = [], typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner = hints[field.name]
        section = isinstance(inner, type) and dataclasses.is_dataclass(inner)
        heading = inspect.getdoc(inner) if section else ""
        if heading and not heading.startswith(f"{inner.__name__}("):  # else made by dataclasses
            out += ["", f"config.{field.name}: {' '.join(heading.split())}"]
        elif section:
            out += ["", f"config.{field.name}:"]
        for key in keys_of(kind):
            if f"{key.name}.".startswith(f"config.{field.name}."):
                out.append(f"  --{key.name}={key.default}  ({key.kind})" + (f"  {key.comment}" if key.comment else ""))
    return "\n".join(out).strip()


def describe(hint: Any) -> str:
    """A type for people: "int, at least 1", "grpo | dapo", "list of text", "... or None"."""
    inner, rules = rules_of(hint)
    if choice := next((rule for rule in rules if isinstance(rule, Choice)), None):
        return " | ".join(choice.names())
    limits = "".join(f", {rule}" for rule in rules if type(rule).__str__ is not object.__str__)
    origin, arguments = typing.get_origin(inner), typing.get_args(inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join("None" if a is type(None) else describe(a) for a in arguments)
    if origin is typing.Literal:
        return " | ".join(map(str, arguments))
    if origin is tuple:
        return f"list of {describe(arguments[0])}"
    return getattr(inner, "__name__", str(inner)).replace("str", "text") + limits


def field_comments(kind: type) -> dict[str, str]:
    """The comment of each field: beside it, in lines of their own below it, or (beginning with a capital) above it."""
    found: dict[str, list[str]] = {}
    above: list[str] = []
    field, started = "", False
    for token in tokenize.generate_tokens(io.StringIO(inspect.getsource(kind)).readline):
        line = token.line.splitlines()[0] if token.line else ""
        if token.type == tokenize.NAME and token.start[1] == 4 and (match := _FIELD.match(line)):
            field, started = match.group(1), True
            found[field], above = list(above), []
        elif token.type == tokenize.NAME and token.start[1] == 4:
            started = False  # a method
        elif token.type == tokenize.COMMENT:
            text, alone = token.string.lstrip("# "), not token.line[: token.start[1]].strip()
            if alone and (above or not found.get(field) or text[:1].isupper()) and token.start[1] == 4:
                above.append(text)
            elif started:
                found[field].append(text)
    return {name: " ".join(parts) for name, parts in found.items() if parts}
