"""How the verbs with absl flags begin: `--help` and `--keys` are answered, a mistake is one line with what is nearest.

Exit code 2 for what cannot run, as everywhere.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import flags

from spatial_jax.ending import leave
from spatial_jax.logs import log_to_console
from spatial_jax.pages import say
from spatial_jax.renamed import told_new_name
from spatial_jax.shipped import shipped_path

_OVERRIDE = re.compile(r"--?config\.([A-Za-z_][\w.]*)(?:=.*)?", re.DOTALL)
_HELP = ("--help", "-h", "-help", "--helpshort", "--helpfull")


def start(
    main: Callable[[list[str]], Any],
    doc: str,
    settings: type | None = None,
    values: flags.FlagValues | None = None,
    groups: Mapping[str, str] | None = None,
    recipes: type | None = None,
    goes_on: bool = False,
) -> NoReturn:
    """Parses the flags and leaves with what `main` returns. `settings`: the dataclass behind --config; `values`: the
    verb's own flags (default: those that its module defined); `groups`: headings of --help with their flags' names;
    `recipes`: the dataclass of another kind of --config that the verb takes; `goes_on`: see `leave`.
    """
    sys.argv[1:] = [shipped_recipe(argument) for argument in sys.argv[1:]]
    name, arguments = Path(sys.argv[0]).stem, sys.argv[1:]
    if any(argument in _HELP for argument in arguments):
        print(help_text(doc, values, settings, groups or {}), end="")
        sys.exit(0)
    if settings is not None and "--keys" in arguments:
        from spatial_jax.config_keys import keys_text

        print(keys_text(settings))
        sys.exit(0)
    try:
        if settings is not None:
            check_config_arguments(arguments, settings, *([recipes] if recipes else []))
        rest = flags.FLAGS(sys.argv)
    except (Exception, SystemExit) as error:  # a recipe is code: whatever it raises is told in a line
        say(f"{name}: {parse_problem(error)}", stream=sys.stderr)
        sys.exit(2)
    log_to_console()
    leave(lambda: main(rest), name, goes_on)


def help_text(
    doc: str, values: flags.FlagValues | None, settings: type | None, groups: Mapping[str, str] | None = None
) -> str:
    """The verb's text and its options under their headings, laid out as argparse does for the other verbs."""
    found = values or flags.FLAGS
    own = found.get_key_flags_for_module("__main__") if values is None else [found[name] for name in found]
    left = {flag.name: flag for flag in sorted(own, key=lambda f: f.name)}
    parser = argparse.ArgumentParser(
        program(), "%(prog)s [options]", doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for title, names in (groups or {}).items():
        group = parser.add_argument_group(title)
        for name in names.split():
            _show(group, left.pop(name))
    for flag in left.values():
        _show(parser, flag)
    if settings is not None:
        parser.add_argument(
            "--keys", action="store_true", help="print every key of the configuration with its type, default, meaning"
        )
    return parser.format_help()


def program() -> str:
    """How the running verb was called, for its usage line."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is None:
        return f"python {sys.argv[0]}"
    return f"python -m {spec.name.removesuffix('.__main__')}"


def _show(group: Any, flag: flags.Flag) -> None:
    default = "" if flag.default in (None, "", []) else f" (default: {flag.default})"
    text = (" ".join(str(flag.help).split()) + default).replace("%", "%%")
    if flag.boolean:
        group.add_argument(f"--[no]{flag.name}", action="store_true", help=text)
    else:
        group.add_argument(f"--{flag.name}", metavar=flag.name.upper(), help=text)


def shipped_recipe(argument: str) -> str:
    """--config=configs/x.py where the current folder has no such file: the recipe that is installed."""
    flag, equals, value = argument.partition("=")
    if not equals:
        flag, value = "", argument
    if not re.match(r"configs/\w+\.py(:|$)", value) or flag not in ("", "--config", "-config"):
        return argument
    file, colon, rest = value.partition(":")
    return f"{flag}{equals}{shipped_path(file)}{colon}{rest}"


def check_config_arguments(arguments: Sequence[str], *settings: type) -> None:
    """ValueError, naming the nearest, for a --config file that is not there or a key that does not exist."""
    from spatial_jax.config_keys import keys_of

    keys = [key.name.removeprefix("config.") for kind in settings for key in keys_of(kind)]
    for place, argument in enumerate(arguments):
        if argument in ("--config", "-config"):
            check_config_file(arguments[place + 1] if place + 1 < len(arguments) else "")
        elif argument.startswith(("--config=", "-config=")):
            check_config_file(argument.partition("=")[2])
        elif match := _OVERRIDE.fullmatch(argument):
            key = match.group(1)
            if key not in keys and (told := told_new_name(key)):
                raise ValueError(told)
            if any(known.startswith(f"{key}.") for known in keys):
                inside = next(known for known in keys if known.startswith(f"{key}."))
                raise ValueError(f"config.{key} is a section; set a key of it, e.g. --config.{inside}=...")
            if key not in keys:
                raise ValueError(
                    f"config.{key} is not a key of the configuration; the nearest is config.{_nearest(key, keys)}"
                    " (--keys lists all)"
                )


def check_config_file(value: str, root: Path = Path()) -> None:
    """ValueError for a recipe that is not there; `root`: the folder that it is read from."""
    path = root / re.sub(r"(\.py):.*", r"\1", value, flags=re.DOTALL)
    if path.is_file():
        return
    folder = path.parent if path.parent.is_dir() else root / "configs"
    there = [str(p) for p in sorted(folder.glob("*.py")) if not p.name.startswith("_")]
    near = f"; the nearest is {_nearest(str(path), there)}" if there else ""
    raise ValueError(f"--config: there is no file {str(path)!r}{near}")


def parse_problem(error: BaseException) -> str:
    """One line for what went wrong while flags and the recipe were read."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    text = lines[-1] if len(lines) > 2 else " ".join(line.strip() for line in lines)
    if missing := re.search(r"[Ff]lag --(\w+) must have a value other than None", text):
        return f"--{missing.group(1)} is missing (--help lists the options)"
    if isinstance(error, flags.UnrecognizedFlagError):
        return f"--{error.flagname} is not an option; the nearest is --{_nearest(error.flagname, list(flags.FLAGS))}"
    text = re.sub(r"^(?:\s*\w*Error: )+", "", text)
    text = re.sub(r": invalid literal for int\(\).*", ": a whole number is wanted", text)
    text = re.sub(r": could not convert string to float.*", ": a number is wanted", text)
    text = text.removeprefix("flag ")
    if isinstance(error, (KeyError, AttributeError)) and (told := told_new_name(text.strip("\"'"))):
        return f"{told} (in the recipe)"  # ml_collections names no more than the key
    return text if isinstance(error, (flags.Error, ValueError)) else f"{type(error).__name__}: {text}"


def _nearest(word: str, known: Sequence[str]) -> str:
    """The closest of `known`; of dotted keys the last part counts most."""
    last = word.rpartition(".")[2]

    def likeness(other: str) -> float:
        whole = difflib.SequenceMatcher(None, word, other).ratio()
        return whole + difflib.SequenceMatcher(None, last, other.rpartition(".")[2]).ratio()

    return max(known, key=likeness)
