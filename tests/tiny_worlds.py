"""Rendered scenes, questions on them and a random tiny policy, made by the project's own commands: what a training test
begins with.
"""

from pathlib import Path

from data_prep import synthesize
from data_prep.annotate.__main__ import main as annotate
from spatial_jax.data.fresh import make_fresh


def make_world(root: Path, *, scenes: int, families: str, seed: int, options: tuple[str, ...] = ()) -> Path:
    """`root`, now holding scenes/, questions/ and policy/; `options`: further ones of synthesize."""
    assert (
        annotate(["--source=rendered", "--preset=plain", f"--count={scenes}", f"--seed={seed}", f"--out={root}/scenes"])
        == 0
    )
    assert (
        synthesize.main(
            [
                f"--scenes={root}/scenes",
                f"--out={root}/questions",
                f"--families={families}",
                "--profile=plain",
                "--wordings=1",
                f"--seed={seed}",
                *options,
            ]
        )
        == 0
    )
    make_fresh("tiny", [f"{root}/questions"], root / "policy")
    return root
