"""The installed command `spatial-jax VERB ...`: each verb is `python -m` of the module beside it."""

from __future__ import annotations

import difflib
import runpy
import sys

VERBS = {
    "from pictures to questions": {
        "annotate": ("data_prep.annotate", "pictures to a dataset of scenes"),
        "synthesize": ("data_prep.synthesize", "scenes, or question files of yours, to a dataset of questions"),
        "selfsup": ("data_prep.selfsup", "plain photos to self-supervised questions"),
        "inspect": ("data_prep.inspect", "a page of a dataset, for looking at it"),
    },
    "policies": {
        "convert": ("spatial_jax.convert", "check, rewrite and make checkpoints"),
        "train": ("spatial_jax.train", "SFT, DPO or GRPO by a recipe; run again, it resumes"),
        "sample": ("spatial_jax.sample", "sample a policy or a teacher, score, keep: a dataset to train on"),
        "evaluate": ("spatial_jax.evaluate", "public benchmarks, held-out questions, saved responses"),
        "chat": ("spatial_jax.chat", "ask a policy about pictures or a video"),
        "report": ("spatial_jax.report", "a page of a run, or of several compared"),
    },
    "larger machines": {
        "plan": ("launch.plan", "will a recipe compile, fit and be worth its price on a TPU?"),
        "sweep": ("launch.sweep", "every member of a recipe's sweep, compared"),
    },
}


def help_text() -> str:
    """The verbs under their headings."""
    lines = [
        "usage: spatial-jax VERB [options]",
        "",
        "Spatial reasoning for vision-language models, from pictures to policies. spatial-jax VERB --help tells a",
        "verb's options; python -m MODULE is the same.",
    ]
    for title, verbs in VERBS.items():
        lines += ["", f"{title}:", *(f"  {verb:<12}{what} ({module})" for verb, (module, what) in verbs.items())]
    return "\n".join(
        [
            *lines,
            "",
            "examples:",
            "  spatial-jax annotate --source=folder --path=my_photos --out=runs/photos",
            "  spatial-jax train --config=configs/quickstart.py:grpo --keys",
        ]
    )


def main() -> None:
    """Runs the verb's module as __main__; exit code 2 with one line for a verb that does not exist."""
    modules = {verb: module for verbs in VERBS.values() for verb, (module, _) in verbs.items()}
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("--help", "-h", "help"):
        print(help_text())
        sys.exit(0)
    if verb not in modules:
        nearest = difflib.get_close_matches(verb, modules, 1)
        told = f"did you mean {nearest[0]}?" if nearest else f"use one of {', '.join(modules)}"
        print(f"spatial-jax: {verb!r} is no verb; {told}", file=sys.stderr)
        sys.exit(2)
    sys.argv[1:2] = []
    runpy.run_module(modules[verb], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
