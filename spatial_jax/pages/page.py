"""The page: one file with its style and script inside, no request to anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from pathlib import Path

from spatial_jax.pages.html import Child, Html, escape, join, tag

_HERE = Path(__file__).parent
SCRIPTS = ("page.js", "filters.js", "tables.js", "pictures.js", "plots.js")
LIGHT = 1_500_000  # characters of pictures up to which a page holds them where they are shown
_PICTURE = re.compile(r'<img src="(data:image/[a-z]+;base64,[A-Za-z0-9+/=]+)"')


class Page:
    """Collects sections and writes one self-contained HTML file.

    A Content-Security-Policy inside the page allows no request and no script but the page's own (by its hash), so even
    a faulty component could not run what a model wrote. Many pictures are kept once each in a list at the page's end,
    from which they are put in when the reader comes near: the text is there at once.
    """

    def __init__(self, title: str, subtitle: Child = "", kicker: str = "spatial_jax", facts: Child = None):
        self.title = title
        below = tag("p", subtitle, class_="subtitle") if subtitle else None
        self._head = tag(
            "header", tag("div", tag("p", kicker, class_="kicker"), tag("h1", title), below, facts, class_="wrap")
        )
        self._sections: list[tuple[str, str, Html]] = []

    def section(self, title: str, *children: Child, lead: Child = None, anchor: str | None = None) -> None:
        """Adds a section; its title becomes an entry of the navigation."""
        base = anchor or re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        taken = {name for name, _, _ in self._sections}
        name = next(n for n in [base, *(f"{base}-{i}" for i in range(2, 1000))] if n not in taken)
        body = tag("section", tag("h2", title), tag("p", lead, class_="lead") if lead else None, *children, id=name)
        self._sections.append((name, title, body))

    def html(self) -> str:
        """The whole document."""
        script = "".join((_HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
        style = (_HERE / "page.css").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = (
            f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri"
            " 'none'; form-action 'none'"
        )
        links = [tag("a", title, href=f"#{name}") for name, title, _ in self._sections]
        body, store = _put_aside(
            join(
                tag("a", "Skip to the content", href="#content", class_="skip"),
                self._head,
                tag("nav", tag("div", links, class_="wrap"), aria_label="sections") if len(links) > 1 else None,
                tag("main", [section for _, _, section in self._sections], class_="wrap", id="content"),
            )
        )
        return "\n".join(
            [
                "<!doctype html>",
                '<html lang="en">',
                "<head>",
                '<meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                '<meta name="color-scheme" content="light dark">',
                f"<title>{escape(self.title)}</title>",
                f"<style>\n{style}</style>",
                "</head>",
                "<body>",
                body,
                store,
                f"<script>{script}</script>",
                "</body>",
                "</html>",
                "",
            ]
        )

    def write(self, path: str | os.PathLike) -> Path:
        """Writes the document (atomically); returns its path."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(self.html(), encoding="utf-8")
        os.replace(temporary, path)
        return path


def _put_aside(body: str) -> tuple[str, str]:
    """(body, list of pictures): where a body's pictures are many, each stands once in the list, by its number."""
    if sum(len(found.group(1)) for found in _PICTURE.finditer(body)) <= LIGHT:
        return body, ""
    numbers: dict[str, int] = {}
    body = _PICTURE.sub(lambda found: f'<img data-picture="{numbers.setdefault(found.group(1), len(numbers))}"', body)
    told = tag("noscript", tag("p", "The pictures of this page are put in by its script.", class_="wrap quiet"))
    return body, f'{told}<script type="application/json" class="kept">{json.dumps(list(numbers))}</script>'
