"""Check, rewrite and make checkpoints.

    python -m spatial_jax.convert --verify=DIR                        # our numbers against transformers', as a table
    python -m spatial_jax.convert --from=DIR --to_hf=OUT [--style=v5] [--dtype=bfloat16]
    python -m spatial_jax.convert --from=DIR --to_hf=OUT --phrases=QUESTIONS   # tokens for what demonstrations say
    python -m spatial_jax.convert --from=DIR --to_hf=OUT --coordinates=112     # tokens for pixels: a box is four
    python -m spatial_jax.convert --fresh=tiny --texts=QUESTIONS[,QUESTIONS] --out=DIR   # tokenizer of the texts
    python -m spatial_jax.convert --fresh=DIR --out=DIR   # random weights, architecture and tokenizer of DIR

DIR may be a hub name (owner/name), which is downloaded first. --verify lets transformers read the folder by its own
from_pretrained, in a process of its own, loads it here, and compares logits, positions (by transformers' rule for text
after videos) and greedy tokens on random text, images and video; exit code 1 when a case is out of bounds: the float32
ones, or with --dtype bfloat16 an rms error of at most 1.5 times that of transformers itself, both against float32
arithmetic. --to_hf writes a Hugging Face directory that transformers 4.57 and 5.x read, in either
key spelling, with the processor's files copied.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spatial_jax.ending import leave
from spatial_jax.logs import log_to_console
from spatial_jax.options import Listed, Parser, list_parts
from spatial_jax.shipped import shipped_path

MOST_COORDINATES = 2000
# What each task reads beside its own option.
_READS = {
    "verify": ("dtype",),
    "to_hf": ("source", "style", "dtype", "phrases", "asked", "coordinates"),
    "fresh": ("texts", "out", "vocab_size", "seed", "dtype"),
}


def check(parser: Parser, args: argparse.Namespace) -> None:
    """Ends with one line for options that are missing, contradict one another, or would do nothing."""
    if (
        sum(map(bool, (args.verify, args.to_hf, args.fresh))) != 1
        or bool(args.source) != bool(args.to_hf)
        or bool(args.fresh) != bool(args.out)
    ):
        parser.error("give one of: --verify DIR; --from DIR with --to_hf OUT; --fresh SIZE|DIR with --out DIR")
    if (args.phrases or args.coordinates) and (not args.to_hf or args.style or args.dtype):
        parser.error("--phrases and --coordinates go with --from DIR --to_hf OUT alone")
    if args.asked and not args.phrases:
        parser.error("--asked goes with --phrases")
    if args.phrases and args.coordinates:
        parser.error("--phrases and --coordinates: one after the other, coordinates first")
    if not 0 <= args.coordinates <= MOST_COORDINATES:
        parser.error(f"--coordinates: 1 to {MOST_COORDINATES} pixels, not {args.coordinates}")
    task = next(name for name in _READS if getattr(args, name))
    for name in sorted({name for reads in _READS.values() for name in reads} - {*_READS[task]}):
        if getattr(args, name) != parser.get_default(name):
            parser.error(f"--{name} does nothing with --{task}; leave it out")
    if not args.fresh:
        return
    like = Path(shipped_path(args.fresh)).is_dir()
    if like and (args.texts or args.vocab_size != parser.get_default("vocab_size")):
        parser.error(f"--fresh={args.fresh} is a folder, whose tokenizer is kept: leave --texts and --vocab_size out")
    if not like and not args.texts:
        parser.error("--fresh SIZE needs --texts: a tokenizer of no text has no words")
    if args.vocab_size < 1:
        parser.error(f"--vocab_size={args.vocab_size}: 1 or more")


def main(argv: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = Parser("python -m spatial_jax.convert", __doc__)
    parser.add_argument("--verify", metavar="DIR", help="compare a checkpoint with transformers")
    parser.add_argument(
        "--from", dest="source", metavar="DIR", help="checkpoint to read (Hugging Face layout, either key spelling)"
    )
    parser.add_argument("--to_hf", metavar="OUT", help="directory to write")
    parser.add_argument(
        "--style", choices=("v4", "v5"), help="key spelling to write; default: the family's published one"
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        help="verify: type to compute in (float32); to_hf, fresh: type to write (the file's; float32)",
    )
    parser.add_argument(
        "--phrases",
        action=Listed,
        default="",
        metavar="DIR,DIR",
        help="--to_hf: question datasets; OUT has a token more for each phrase of their drawn demonstrations",
    )
    parser.add_argument(
        "--asked", action="store_true", help="--phrases: those of the questions and their answers instead"
    )
    parser.add_argument(
        "--coordinates",
        type=int,
        default=0,
        metavar="N",
        help="--to_hf: OUT has a token for each coordinate to N pixels with the sign before it",
    )
    parser.add_argument(
        "--fresh",
        metavar="SIZE|DIR",
        help=(
            "make a policy with random weights: a size (tiny, or a published one, "
            "e.g. qwen2_5_vl_3b), or like the checkpoint DIR"
        ),
    )
    parser.add_argument(
        "--texts",
        action=Listed,
        default="",
        metavar="DIR,DIR",
        help="--fresh SIZE: question datasets whose texts the tokenizer is trained on",
    )
    parser.add_argument("--out", metavar="DIR", help="--fresh: directory to write")
    parser.add_argument("--vocab_size", type=int, default=512, help="--fresh SIZE: tokens at most")
    parser.add_argument("--seed", type=int, default=0, help="--fresh: of the weights")
    args = parser.parse_args(argv)
    check(parser, args)
    log_to_console()
    try:
        if args.coordinates:
            return _add_coordinates(args.source, args.coordinates, args.to_hf)
        if args.phrases:
            return _add_phrases(args.source, list_parts(args.phrases), args.to_hf, args.asked)
        if args.fresh:
            return _fresh(
                args.fresh,
                list_parts(args.texts),
                args.out,
                args.vocab_size,
                args.seed,
                args.dtype or "float32",
            )
        return (
            _verify(args.verify, args.dtype or "float32")
            if args.verify
            else _rewrite(args.source, args.to_hf, args.style, args.dtype)
        )
    except (OSError, ValueError, RuntimeError) as error:
        print(f"convert: {error}", file=sys.stderr)
        return 2


def _verify(name: str, dtype: str) -> int:
    from spatial_jax.models import checkpoint_directory
    from spatial_jax.models.configs import DEFAULT_POSITION_RULE
    from spatial_jax.models.verify import RULE, format_table, verify_checkpoint

    rows = verify_checkpoint(checkpoint_directory(name), dtype)
    print(format_table(rows))
    print(
        f"positions were compared by the rule {RULE!r}, which is transformers 5's; training and sampling use"
        f" {DEFAULT_POSITION_RULE!r}, as Qwen's training code, unless position_rule says otherwise"
    )
    failed = sum(not row.passed for row in rows)
    print(f"{name}: {'equal to transformers in all cases' if not failed else f'{failed} of {len(rows)} cases differ'}")
    return int(failed > 0)


def _fresh(size: str, texts: list[str], out: str, vocab_size: int, seed: int, dtype: str) -> int:
    from spatial_jax.data.fresh import make_fresh, make_like
    from spatial_jax.models import count_params

    size = str(shipped_path(size))
    like = Path(size).is_dir()
    config = (
        make_like(size, out, seed=seed, dtype=dtype)
        if like
        else make_fresh(size, texts, out, vocab_size=vocab_size, seed=seed, dtype=dtype)
    )
    print(
        f"wrote {out}: {config.family}, {count_params(config) / 1e6:.2f} M random parameters, {config.text.vocab_size}"
        " tokens"
    )
    return 0


def _add_coordinates(source: str, largest: int, target: str) -> int:
    from spatial_jax.data.added_tokens import add_coordinates
    from spatial_jax.models import checkpoint_directory

    config = add_coordinates(str(checkpoint_directory(shipped_path(source))), largest, target)
    print(f"wrote {target}: {config.text.vocab_size} tokens")
    return 0


def _add_phrases(source: str, datasets: list[str], target: str, asked: bool) -> int:
    from spatial_jax.data.phrases import add_phrases
    from spatial_jax.models import checkpoint_directory

    config = add_phrases(str(checkpoint_directory(shipped_path(source))), datasets, target, asked=asked)
    print(f"wrote {target}: {config.text.vocab_size} tokens")
    return 0


def _rewrite(source: str, target: str, style: str | None, dtype: str | None) -> int:
    from spatial_jax.models import checkpoint_directory, read_config, save_pretrained
    from spatial_jax.models.hf_weights import load_params, settle_head
    from spatial_jax.models.safetensors_io import Checkpoint

    folder = checkpoint_directory(source)
    checkpoint = Checkpoint(folder)
    config = settle_head(checkpoint, read_config(folder))
    params = load_params(checkpoint, config)
    print(f"wrote {save_pretrained((config, params), target, folder, style=style, dtype=dtype)}")
    return 0


if __name__ == "__main__":
    leave(main, "convert")
