"""Chat templates rendered as transformers renders them, as the data of a stranger: a template sees plain values only,
cannot leave its sandbox, ends, and whatever is wrong with it is one ValueError.

The sandbox of jinja2 keeps a template from Python's inner parts, not from running for ever or filling the memory: loops
and macros count their steps here, and what multiplies sizes is bounded.
"""

from __future__ import annotations

import datetime
import functools
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox
import jinja2.utils
import jinja2.visitor
import numpy as np

MAX_STEPS = 300_000  # passes through loops and macros in one conversation; a long one takes some hundreds
MAX_LENGTH = 10_000_000  # characters or items of any value
MAX_TOTAL = 100_000_000  # of all values that one conversation makes
MAX_NUMBER = 100_000  # of a repetition, a width or a power; as jinja2's own bound on range()
# Filters and methods of text whose number says how often or how wide.
_REPEATING = {
    "center",
    "indent",
    "slice",
    "batch",
    "tojson",
    "wordwrap",
    "round",
    "ljust",
    "rjust",
    "zfill",
    "expandtabs",
}
_REASONING = ("reasoning_content", "thinking", "reasoning")


class _Generation(jinja2.ext.Extension):
    """{% generation %}...{% endgeneration %}, which marks the assistant's text for masks, renders its body."""

    tags = {"generation"}

    def parse(self, parser: Any) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dict:
    """`dict` in templates, without the attributes of the type."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict:
        return dict.fromkeys(*args)


class _Namespace(jinja2.utils.Namespace):
    """`namespace` in templates; names that begin with an underscore are refused, as in transformers."""

    def __init__(*args: Any, **kwargs: Any):  # `namespace(self=...)` is allowed, hence no name for self
        self, *rest = args
        values = dict(*rest, **kwargs)
        for name in values:
            _Namespace._check(name)
        jinja2.utils.Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _Namespace._check(name)
        super().__setitem__(name, value)

    @staticmethod
    def _check(name: Any) -> None:
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.sandbox.SecurityError(f"a namespace cannot hold {name!r}: rename it without the underscore")


class _Environment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """The sandbox with transformers' functions, in which every template ends."""

    intercepted_binops = frozenset(("*", "**", "+", "%"))

    def __init__(self) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols])
        self.filters = {
            name: self._guard(name, function) for name, function in {**self.filters, "tojson": _to_json}.items()
        }
        self.globals |= {"raise_exception": _refuse, "strftime_now": _now, "dict": _Dict(), "namespace": _Namespace}
        del self.globals["lipsum"]
        self._used = threading.local()  # one environment renders in several threads
        self.begin()

    def begin(self) -> None:
        """A conversation starts: its steps are counted from here."""
        self._used.steps = self._used.made = 0

    def tick(self) -> bool:
        """One step of a loop or macro; always true."""
        self._used.steps += 1
        if self._used.steps > MAX_STEPS:
            raise jinja2.sandbox.SecurityError(f"takes more than {MAX_STEPS} steps and may never end")
        return True

    def charge(self, value: Any) -> Any:
        """`value`, when it and all that were made before leave the memory whole."""
        if isinstance(value, (str, list, tuple, dict)):
            self._used.made += len(value)
            if len(value) > MAX_LENGTH or self._used.made > MAX_TOTAL:
                raise jinja2.sandbox.SecurityError(f"makes values of {self._used.made} characters or items")
        return value

    def join(self, *parts: Any) -> str:
        """What `~` gives."""
        return self.charge("".join(map(str, parts)))

    def _parse(self, source: str, name: str | None, filename: str | None) -> jinja2.nodes.Template:
        tree = super()._parse(source, name, filename)
        nodes = jinja2.nodes
        looping: list[Any] = list(tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock)))
        for node in looping:
            tick = nodes.Call(nodes.EnvironmentAttribute("tick"), [], [], None, None)
            node.body.insert(0, nodes.ExprStmt(tick))
            if isinstance(node, nodes.For) and node.test is not None:
                node.test = nodes.And(tick, node.test)
        return _Joins().visit(tree).set_environment(self)

    def _guard(self, name: str, function: Callable) -> Callable:
        """A filter whose counts and widths and whose result are bounded."""
        given = 2 if hasattr(function, "jinja_pass_arg") else 1  # behind the value, or the environment and the value

        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if name in _REPEATING:
                _check_numbers((*args[given:], *kwargs.values()))
            if name == "format":
                _check_widths(args[0])
            return self.charge(function(*args, **kwargs))

        return guarded

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        text, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(text, str) and name in _REPEATING:
            _check_numbers((*args, *kwargs.values()))
        if isinstance(text, str) and name.startswith("format"):
            _check_widths(text)
        return self.charge(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        sizes = [len(value) if hasattr(value, "__len__") else None for value in (left, right)]
        if operator == "**":
            _check_numbers((left, right))
            if isinstance(right, (int, float)) and abs(right) > 1000:
                raise jinja2.sandbox.SecurityError(f"raises a number to the power of {right:g}")
        elif operator == "*" and any(size is not None for size in sizes):
            counts = [size if size is not None else int(value) for size, value in zip(sizes, (left, right))]
            if counts[0] * counts[1] > MAX_LENGTH:
                raise jinja2.sandbox.SecurityError(f"makes a value of {counts[0] * counts[1]} characters or items")
        elif operator == "%":
            _check_widths(left)
        return self.charge(super().call_binop(context, operator, left, right))


class _Joins(jinja2.visitor.NodeTransformer):
    """Lets the environment's `join` make what `~` joins."""

    def visit_Concat(self, node: jinja2.nodes.Concat) -> jinja2.nodes.Call:
        parts = [self.visit(part) for part in node.nodes]
        return jinja2.nodes.Call(jinja2.nodes.EnvironmentAttribute("join"), parts, [], None, None)


def _check_numbers(values: Sequence[Any]) -> None:
    for value in values:
        if isinstance(value, (int, float)) and abs(value) > MAX_NUMBER:
            raise jinja2.sandbox.SecurityError(f"repeats or fills up {value:g} times")


def _check_widths(form: Any) -> None:
    digits = "".join(c if c.isdecimal() else " " for c in form).split() if isinstance(form, str) else ()
    if any(len(number) > 5 for number in digits):
        raise jinja2.sandbox.SecurityError("fills text up to a width of more than 5 digits")


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def plain(value: Any) -> Any:
    """`value` of plain types alone. Pictures, arrays and other objects, whose methods a template could call (some write
    files), become their type's name; templates only ask whether they are there.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    for kind in (str, int, float):
        if isinstance(value, kind):
            return getattr(kind, f"__{kind.__name__}__")(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value)) if type(value) in (list, tuple) else [plain(item) for item in value]
    return f"<{type(value).__name__}>"


def _with_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    """A message's thoughts under each name that templates read them by."""
    told = next((message[key] for key in _REASONING if message.get(key) is not None), None)
    return message if told is None else {"thinking": told, **message, "reasoning_content": told}


class ChatTemplate:
    """A compiled template. ValueError in one line when it does not compile or, from `render`, when it fails."""

    def __init__(self, source: str):
        self.environment = _Environment()
        try:
            self._template = self.environment.from_string(source)
        except Exception as error:  # deep nesting fails in several of Python's ways
            raise _fault(error, "download the model's chat_template again") from None

    def render(self, messages: Sequence[dict[str, Any]], add_generation_prompt: bool, **variables: Any) -> str:
        """The conversation as text. What transformers hands to a template is there: tools and documents (None unless
        given), strftime_now, raise_exception, tojson, namespace, dict.
        """
        chat = plain(list(messages))
        if not all(isinstance(message, dict) for message in chat):
            raise ValueError("chat template: a message is no object with a role and a content; check the messages")
        given = {"tools": None, "documents": None, **plain(variables)}
        self.environment.begin()
        pieces, length = [], 0
        try:
            for piece in self._template.generate(
                messages=[_with_reasoning(message) for message in chat],
                add_generation_prompt=add_generation_prompt,
                **given,
            ):
                pieces.append(piece)
                length += len(piece)
                if length > MAX_LENGTH:
                    raise jinja2.sandbox.SecurityError(f"writes more than {MAX_LENGTH} characters")
        except Exception as error:  # a template is a program: it may fail in any way
            raise _fault(error, "check the roles and contents of the messages, or the model's template") from None
        return "".join(pieces)


def _fault(error: Exception, advice: str) -> ValueError:
    told = " ".join(str(error).split())[:300]
    kind = "" if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: "
    line = f", line {error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else ""
    return ValueError(f"chat template{line}: {kind}{told or 'fails'}; {advice}")
