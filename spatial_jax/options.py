"""Options that all commands take alike: list flags, one layout of --help, errors of one line. For argparse and absl."""

from __future__ import annotations

import argparse
import difflib
import re
import shlex
from collections.abc import Iterable
from typing import Any

from absl import flags

flags.disclaim_key_flags()  # what is defined here belongs to the verb that asks for it, whose --help shows it


def list_parts(text: str) -> list[str]:
    """The parts of a list flag's text "a,b", in order, each once."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def command_text(words: Iterable[str]) -> str:
    """The words as one would type them in a shell: --flag='("a",)', quoted from the flag's value on, by whichever marks
    need no escape.
    """
    return " ".join(map(_as_typed, words))


def _as_typed(word: str) -> str:
    flag, equals, value = word.partition("=")
    if not (equals and re.fullmatch(r"--?[\w.]+", flag)):
        flag, equals, value = "", "", word
    quoted = shlex.quote(value) if value or not equals else ""
    if "'" in value and not re.search(r'["$`\\!]', value):
        quoted = f'"{value}"'
    return f"{flag}{equals}{quoted}"


class _Lists(flags.ListParser):
    def parse(self, argument: Any) -> list[str]:
        return [part.strip() for part in super().parse(argument) if part.strip()]


def define_list(name: str, help_text: str) -> Any:
    """An absl list flag: --flag=a,b and --flag=a --flag=b are the same; `flag_parts` reads it."""
    return flags.DEFINE_multi(_Lists(), flags.ListSerializer(","), name, None, help_text)


def flag_parts(flag: Any) -> list[str]:
    """All parts of a flag of `define_list`, in order, each once."""
    return list(dict.fromkeys(part for given in flag.value or () for part in given))


class Listed(argparse.Action):
    """A list flag: --flag=a,b and --flag=a --flag=b are the same; the value is the text "a,b"."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        given = vars(namespace).setdefault("_listed", {})
        given[self.dest] = [
            *given.get(self.dest, []),
            *(part.strip() for part in str(values).split(",") if part.strip()),
        ]
        setattr(namespace, self.dest, ",".join(given[self.dest]))


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line that names the nearest choice; exit code 2. `named`: what its usage
    line says in place of [options] where there are positional arguments.
    """

    def __init__(self, prog: str, description: str | None, epilog: str | None = None, named: str = ""):
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(
            prog, f"%(prog)s {named or '[options]'}", description, epilog, formatter_class=layout, allow_abbrev=False
        )

    def error(self, message: str) -> Any:
        self.exit(2, f"{self.prog.rpartition('.')[2]}: {message}; see --help\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The options, without what `Listed` keeps for itself. An unknown flag names the nearest."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            flag = rest[0].partition("=")[0]
            self.error(f"{flag} is no option; {nearest(flag, self._option_string_actions)}")
        if hasattr(found, "_listed"):
            del found._listed
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices if str(choice)]
            raise argparse.ArgumentError(action, f"{value!r} is unknown; {nearest(str(value), known)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """ "did you mean 'x'?" for the closest known word, else the list of them."""
    known = list(known)
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(known)}"
