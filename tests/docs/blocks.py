"""The command blocks of README and docs/: found, split into commands, and each with its mark."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
PAGES = (HERE / "README.md", *sorted((HERE / "docs").glob("*.md")))
PROGRAMS = ("python", "pip", "make", "tensorboard", "spatial-jax", "docker")
_MARK = re.compile(r"<!-- (run|not run): (.+?) -->")


@dataclasses.dataclass(frozen=True)
class Block:
    """Commands of one block. `run`: its name where it is run by the proof, `why_not` where not; "" where unmarked."""

    page: Path
    line: int
    commands: tuple[tuple[str, ...], ...]  # words, without what is set in front of them
    run: str = ""
    why_not: str = ""

    @property
    def name(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The indented blocks of a page that begin with a command."""
    found: list[Block] = []
    lines, mark, fenced = page.read_text().splitlines(), ("", ""), False
    number = 0
    while number < len(lines):
        line = lines[number]
        fenced ^= line.startswith("```")
        if match := _MARK.match(line):
            mark = (match.group(1), match.group(2))
        elif line.startswith("    ") and not fenced and (not found or number > 0) and not lines[number - 1].strip():
            start = number
            while number < len(lines) and (lines[number].startswith("    ") or not lines[number].strip()):
                number += 1
            commands = commands_of("\n".join(line[4:] for line in lines[start:number]))
            if commands:
                run, why = (mark[1], "") if mark[0] == "run" else ("", mark[1])
                found.append(Block(page, start + 1, commands, run, why))
            mark = ("", "")
            continue
        number += 1
    return found


def commands_of(text: str) -> tuple[tuple[str, ...], ...]:
    """The commands of a block; none where it is a drawing."""
    joined = text.replace("\\\n", " ")
    out = []
    for line in joined.splitlines():
        first = line.strip().split(" ")[0]
        if first not in PROGRAMS and not re.match(r"[A-Z_]+=", first):
            continue
        words = shlex.split(line, comments=True)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        out.append(tuple(words))
    return tuple(out)


def inline_commands(page: Path) -> list[tuple[str, ...]]:
    """Whole commands inside a sentence, between backticks."""
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    spans = re.findall(r"`((?:python -m|python launch/|spatial-jax )[^`]+)`", text)
    return [tuple(shlex.split(span.replace("\n", " "))) for span in spans]
