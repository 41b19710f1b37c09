"""What was left out: reasons a stage with counts, and examples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.inspect.records import config_of, parse_or_empty
from spatial_jax.pages import Child, Html, details, picture, table, tag

EXAMPLES = 6  # of a reason, as pictures


def left_out(folder: Path, manifest: Mapping[str, Any]) -> list[Child]:
    """Reasons a stage with counts, and examples: the picture where the source folder still has it, else its name."""
    rows = [
        (str(stage), str(reason), int(count))
        for stage, reasons in (manifest.get("reasons") or {}).items()
        for reason, count in reasons.items()
    ]
    rows += [("labels", str(what), int(count)) for what, count in (manifest.get("told") or {}).items()]
    examples = _skipped_items(folder)
    if not rows and not examples:
        return []
    source = config_of(manifest).get("source")
    root = Path(str(source.get("path") or "/nonexistent") if isinstance(source, dict) else "/nonexistent")
    counted = [[stage, reason, f"{count:,}"] for stage, reason, count in sorted(rows, key=lambda row: -row[2])]
    parts: list[Child] = [table(["stage", "what happened", "items"], counted, numeric=(2,)) if counted else None]
    for (stage, reason), items in sorted(examples.items(), key=lambda entry: -len(entry[1]))[:30]:
        shown = [_thumbnail(root, item) for item in items[:EXAMPLES]]
        parts.append(
            details(
                f"{stage}: {reason} ({len(items)})",
                tag("div", shown, class_="pictures"),
                tag("p", tag("small", ", ".join(items[EXAMPLES:60]))) if len(items) > EXAMPLES else None,
            )
        )
    return parts


def _skipped_items(folder: Path) -> dict[tuple[str, str], list[str]]:
    """(stage, reason) -> item names, from skipped.jsonl."""
    out: dict[tuple[str, str], list[str]] = {}
    path = folder / "skipped.jsonl"
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            entry = parse_or_empty(line)
            if not entry:
                continue
            common = str(entry.get("reason") or "").partition(" | ")[0]  # what follows belongs to this item alone
            reasons = (
                [(str(entry.get("stage", "")), f"{entry.get('kind')}: {common}")]
                if common
                else [("repaired", str(note)) for note in entry.get("notes", ())]
            )
            for key in reasons:
                out.setdefault(key, []).append(str(entry.get("item", "")))
    return out


def _thumbnail(root: Path, item: str) -> Html:
    path = root / item
    if root.is_dir() and path.is_file() and root.resolve() in path.resolve().parents:
        return picture(path, caption=item, max_side=200)
    return tag("p", tag("code", item))
