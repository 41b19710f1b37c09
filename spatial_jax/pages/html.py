"""HTML by construction: `tag` escapes every text and attribute, so what comes from data can never become markup."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

from spatial_jax.pages.plain import plain

_VOID = {"img", "input", "br", "meta", "line", "rect", "path", "circle", "polyline", "polygon", "col"}


class Html(str):
    """Text that is HTML already. Only `tag` and this package's own components make it; everything else is escaped."""

    __slots__ = ()


Child = Any  # Html, text, number, None, or an iterable of them


def escape(value: object) -> Html:
    """`value` as HTML text; characters that steer a viewer (controls, marks of direction) become a visible mark."""
    if isinstance(value, Html):
        return value
    return Html(html.escape(plain(value), quote=True))


def join(*children: Child) -> Html:
    """Children one after the other; None and False vanish, iterables are flattened."""
    parts: list[str] = []
    for child in children:
        if child is None or child is False:
            continue
        if isinstance(child, str) or not isinstance(child, Iterable):
            parts.append(escape(child))
        else:
            parts.append(join(*child))
    return Html("".join(parts))


def tag(name: str, *children: Child, **attributes: Any) -> Html:
    """`tag("p", "1 < 2", class_="lead")`. In attribute names a trailing underscore is dropped and others become
    hyphens; None and False leave the attribute out, True writes it bare. SVG's viewBox and the like are written as they
    are.
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        written.append(f" {label}" if value is True else f' {label}="{escape(str(value))}"')
    opening = f"<{name}{''.join(written)}>"
    if name in _VOID and not children:
        return Html(opening[:-1] + ("/>" if name not in ("img", "input", "br", "meta", "col") else ">"))
    return Html(f"{opening}{join(*children)}</{name}>")


def chip(text: object, kind: str = "") -> Html:
    """A small rounded label; `kind` is "", "good", "bad", "warn" or "quiet"."""
    return tag("span", text, class_=f"chip {kind}".strip())


def details(summary: Child, *children: Child, open_: bool = False, class_: str = "") -> Html:
    """A section that folds."""
    return tag("details", tag("summary", summary), *children, open=open_, class_=class_ or None)


def number_cards(cards: Iterable[tuple[object, object, object]]) -> Html:
    """Headline numbers: (value, label, remark) each."""
    return tag(
        "div",
        [
            tag(
                "div",
                tag("b", value),
                tag("span", label),
                tag("small", remark) if remark else None,
                class_="card number",
            )
            for value, label, remark in cards
        ],
        class_="numbers",
    )


def command(text: object) -> Html:
    """A command to copy."""
    return tag("div", tag("code", text), tag("button", "copy", class_="copy", type="button"), class_="command")


def callout(kind: str, title: object, *children: Child) -> Html:
    """A remark that stands out; `kind` is "good", "bad", "warn" or "note"."""
    return tag("div", tag("strong", title), *children, class_=f"callout {kind}")


def tabs(panes: Iterable[tuple[object, Child]], shown: int = 0) -> Html:
    """Panes behind buttons, pane `shown` first; without JavaScript all are shown. Boxes with a `pane` in the same item
    follow.
    """
    panes = list(panes)
    buttons = [
        tag(
            "button",
            label,
            type="button",
            data_pane=i,
            class_="on" if i == shown else None,
            aria_pressed=str(i == shown).lower(),
        )
        for i, (label, _) in enumerate(panes)
    ]
    bodies = [
        tag(
            "div",
            tag("h4", label, class_="pane-title"),
            body,
            class_="pane" + (" on" if i == shown else ""),
            data_pane=i,
        )
        for i, (label, body) in enumerate(panes)
    ]
    return tag("div", tag("div", buttons, class_="tab-row") if len(panes) > 1 else None, bodies, class_="tabs")


MOST_CHIPS = 12  # values of a facet that are chips; more become a list to choose from


def searchable(
    items: Iterable[tuple[Child, str, str | Mapping[str, str | Iterable[str]]]],
    *,
    groups: Iterable[str] = (),
    facets: Mapping[str, Iterable[str]] | None = None,
    placeholder: str = "filter…",
    class_: str = "items",
) -> Html:
    """Items with a filter box, and what they can be narrowed to. Each item is (body, text that is searched, what it is
    of): its group, or {facet: value or values} for `facets` {"family": ["box", ...], "verdict": ["right", "wrong"]}.
    Within a facet any chosen value fits, all facets must.
    """
    known = {name: list(values) for name, values in (facets or {"": groups}).items()}
    items = list(items)
    bar = tag(
        "div",
        tag("input", type="search", placeholder=placeholder, aria_label="filter"),
        [_facet(name, values) for name, values in known.items() if values],
        tag("span", f"{len(items)} shown", class_="count", aria_live="polite"),
        class_="filter-bar",
    )
    body = [
        tag("article", item, class_="item", data_search=text.lower()[:4000], data_facets=_facets_of(of))
        for item, text, of in items
    ]
    empty = tag("p", "Nothing fits. Take a word or a choice away.", class_="nothing quiet off")
    return tag("div", bar, tag("div", body, class_=class_), empty, class_="searchable")


def _facet(name: str, values: list[str]) -> Html:
    label = tag("small", name) if name else None
    if len(values) > MOST_CHIPS:
        options = [tag("option", f"any {name}".strip(), value=""), *(tag("option", v, value=v) for v in values)]
        return tag("select", options, data_facet=name, aria_label=name or "group")
    chips = [
        tag("button", v, type="button", class_="chip", data_facet=name, data_value=v, aria_pressed="false")
        for v in values
    ]
    return tag("div", label, chips, class_="chips", role="group", aria_label=name or "group")


def _facets_of(of: str | Mapping[str, str | Iterable[str]]) -> str:
    given = {"": of} if isinstance(of, str) else of
    return json.dumps({name: [v] if isinstance(v, str) else list(v) for name, v in given.items()})
