"""LLaMA-Factory's dataset_info.json beside files of rows: their form, their columns and the names of roles in their
turns, brought to the names that alpaca and sharegpt have without one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_prep.synthesis.importers.files import RowFile
from data_prep.synthesis.importers.rows import BadRow
from spatial_jax.reading import read_object

NAME = "dataset_info.json"
# Names that a listing maps -> the column that is read under it, form by form.
_SHARED = ("system", "tools", "images", "videos", "audios", "chosen", "rejected", "kto_tag")
_COLUMNS = {
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output", "history": "history"},
    "sharegpt": {"messages": "conversations"},
}
_TAGS = {
    "user_tag": "human",
    "assistant_tag": "gpt",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}


@dataclasses.dataclass(frozen=True)
class Listed:
    """What a listing says of a file: the `name` of its entry, its `form`, {column there: column read}, the keys of a
    turn's role and content and {role there: role read} where it names them.
    """

    name: str
    form: str
    columns: Mapping[str, str]
    keys: tuple[str, str] = ("", "")
    roles: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def said(self) -> str:
        """The entry in a few words."""
        renamed = [f"{new}={old}" for old, new in self.columns.items() if old != new]
        turns = [f"turns of {'/'.join(self.keys)}"] if self.keys[0] else []
        return f"{self.name!r} of {NAME}: {', '.join([self.form, *renamed, *turns])}"

    def row(self, row: dict[str, Any] | BadRow) -> dict[str, Any] | BadRow:
        """A row under the names that are read; a column that another is read as is left out."""
        if isinstance(row, BadRow):
            return row
        taken = {new for old, new in self.columns.items() if old != new}
        out = {name: value for name, value in row.items() if name not in taken and name not in self.columns}
        out |= {new: row[old] for old, new in self.columns.items() if old in row}
        turns = out.get("conversations")
        if self.keys[0] and isinstance(turns, list):
            out["conversations"] = [self._turn(turn) for turn in turns]
        return out

    def _turn(self, turn: Any) -> Any:
        role, content = self.keys
        if not isinstance(turn, dict) or role not in turn:
            return turn
        said = turn[role]
        rest = {key: value for key, value in turn.items() if key not in (role, content)}
        return rest | {"from": self.roles.get(str(said), said), "value": turn.get(content)}


def listed_files(files: list[RowFile], kind: str) -> tuple[list[RowFile], dict[Path, Listed], list[str]]:
    """(the files that a listing beside them or above them does not give another form than `kind`, what it says of
    each, which files were left out for it). ValueError where none is left, for a broken listing, and for a listing that
    is itself named as the file of rows.
    """
    kept, out, left_out = list[RowFile](), dict[Path, Listed](), list[str]()
    for file in files:
        folders = dict.fromkeys([*file.bases, file.path.resolve().parent.parent])
        entries = {folder: _entries(folder / NAME) for folder in folders}
        if file.path.name == NAME and (names := [f for e in entries.values() for f in e]):
            raise ValueError(f"{file.path}: lists data sets and holds no row; name one of them: {', '.join(names)}")
        named = [(folder / name, found) for folder, e in entries.items() for name, found in e.items()]
        listed = _one([x for place, found in named if _holds(place, file.path) for x in found], kind)
        if listed is None or listed.form == kind:
            kept.append(file)
        else:
            left_out.append(f"{file.path.name} is not read: it is --import={listed.form}, as {NAME} says")
        if listed is not None:
            out[file.path] = listed
    if not kept:
        raise ValueError(left_out[0])
    return kept, out, left_out


def _holds(place: Path, file: Path) -> bool:
    """Whether a listing's place, a file or a folder of shards, is or holds the file."""
    return place.resolve() in (file.resolve(), *file.resolve().parents)


def _object(entry: dict[str, Any], key: str) -> dict[str, Any]:
    value = entry.get(key)
    return value if isinstance(value, dict) else {}


def _one(entries: list[Listed], kind: str) -> Listed | None:
    """The entry of a file that has the form `kind`, else any. ValueError where two of them differ in more than name."""
    fits = [entry for entry in entries if entry.form == kind]
    for other in fits[1:]:
        if dataclasses.replace(other, name=fits[0].name) != fits[0]:
            raise ValueError(
                f"{NAME} has {fits[0].name!r} and {other.name!r} for one file: say --columns=ROLE=COLUMN,..."
            )
    return next(iter(fits or entries), None)


def _entries(path: Path) -> dict[str, list[Listed]]:
    """{file name: what is said of it} of a listing; {} where there is none, or one of Hugging Face's datasets."""
    if not path.is_file():
        return {}
    out = dict[str, list[Listed]]()
    for name, entry in read_object(path, "mend its JSON, or move the file away").items():
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
            continue
        form = "alpaca" if entry.get("formatting", "alpaca") == "alpaca" else "sharegpt"
        columns, tags = _object(entry, "columns"), _object(entry, "tags")
        known = {**_COLUMNS[form], **{n: n for n in _SHARED}}
        unknown = [key for key, value in columns.items() if key not in known or not isinstance(value, str)]
        if unknown:
            raise ValueError(f"{path}: {name}: columns say {unknown[0]!r}; {form} has {', '.join(known)}")
        turns = (str(tags.get("role_tag", "from")), str(tags.get("content_tag", "value"))) if tags else ("", "")
        roles = {str(tags.get(tag, role)): role for tag, role in _TAGS.items()} if tags else {}
        one = Listed(name, form, {v: known[k] for k, v in columns.items()}, turns, roles)
        out.setdefault(entry["file_name"], []).append(one)
    return out
