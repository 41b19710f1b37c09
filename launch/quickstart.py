"""`make quickstart`: from pictures to an evaluated, better policy. A list of ordinary commands; all logic is in the verbs they call."""
from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from launch.steps import Step, StepRunner, say

COLD_START = "configs/quickstart_policy"        # a policy that has learned to look; how it was made: launch/proofs.py


def steps(root: Path, photos: str, from_scratch: bool, scenes: int, seed: int) -> list[Step]:
    """The whole way, in order."""
    at = {name: str(root / name) for name in (
        "scenes", "photos", "stereo", "questions", "selfsup", "policy", "sft", "grpo", "eval", "report.html", "story.json")}
    data = f"--config.data.paths=('{at['questions']}','{at['selfsup']}')"
    start = at["policy"] if from_scratch else COLD_START

    def evaluate(name: str, model: str, what: str) -> list[Step]:
        common = ("-m", "spatial_jax.evaluate", f"--model={model}", f"--dataset={at['questions']},{at['selfsup']}", "--split=heldout",
                  "--prompt_mode=vanilla", "--max_new_tokens=24")
        return [Step(f"eval_{name}", f"evaluate {what}: 8 sampled answers a held-out question, and the greedy one",
                     (*common, "--samples=8", "--temperature=1.0", "--greedy_too", f"--out={at['eval']}/{name}.json"), 0.7)]

    photo_source = f"--path={photos}" if photos else "--path=package:skimage,sklearn"
    return [
        Step("scenes", "render RGB-D scenes with known geometry",
             ("-m", "data_prep.annotate", "--source=rendered", "--preset=plain", f"--count={scenes}", f"--seed={seed}", f"--out={at['scenes']}"), 0.8),
        Step("photos", "read photos" if photos else "read the photos inside scikit-image and scikit-learn",
             ("-m", "data_prep.annotate", "--source=folder", photo_source, f"--out={at['photos']}"), 0.1),
        Step("stereo", "read a real stereo pair as a metric RGB-D frame",
             ("-m", "data_prep.annotate", "--source=stereo", f"--out={at['stereo']}"), 0.1),
        Step("questions", "ask questions about the scenes",
             ("-m", "data_prep.synthesize", f"--scenes={at['scenes']}", f"--out={at['questions']}", "--profile=plain", f"--seed={seed}"), 0.3),
        Step("selfsup", "make self-supervised tasks from the photos",
             ("-m", "data_prep.selfsup", f"--photos={at['photos']},{at['stereo']}", f"--out={at['selfsup']}", "--profile=plain", f"--seed={seed}"), 0.2),
        Step("policy", "make a tiny Qwen2.5-VL with random weights and a tokenizer of its own" if from_scratch else
             "make the same tiny Qwen2.5-VL with random weights, to compare with",
             ("-m", "spatial_jax.convert", "--fresh=tiny", f"--texts={at['questions']},{at['selfsup']}", *(() if from_scratch else (f"--like={COLD_START}",)),
              f"--seed={seed}", f"--out={at['policy']}"), 0.1),
        *evaluate("before", at["policy"], "the untrained policy"),
        Step("sft", "cold start: supervised fine-tuning",
             ("-m", "spatial_jax.train", f"--config=configs/quickstart.py:{'sft_scratch' if from_scratch else 'sft'}", f"--workdir={at['sft']}",
              f"--config.model.path={start}", data), 6.0 if from_scratch else 1.5),
        *evaluate("after_sft", f"{at['sft']}/export", "after the cold start"),
        Step("grpo", "GRPO: sixteen answers a question, the better ones reinforced",
             ("-m", "spatial_jax.train", "--config=configs/quickstart.py:grpo", f"--workdir={at['grpo']}",
              f"--config.model.path={at['sft']}/export", data), 4.0),
        *evaluate("after_grpo", f"{at['grpo']}/export", "after GRPO"),
        Step("verify", "load the policy in transformers and compare logits",
             ("-m", "spatial_jax.convert", f"--verify={at['grpo']}/export"), 0.4),
        Step("report", "write the report",
             ("-m", "spatial_jax.report", at["sft"], at["grpo"], f"--story={at['story.json']}", f"--out={at['report.html']}"), 0.2),
    ]


def root_folder(photos: str, from_scratch: bool) -> Path:
    """Runs on other photos or from scratch live beside the plain one."""
    name = "quickstart" + (f"-{Path(photos).resolve().name}" if photos else "") + ("-scratch" if from_scratch else "")
    return Path("runs") / name


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m launch.quickstart", description=__doc__)
    parser.add_argument("--photos", default="", help="a folder of your own pictures for the self-supervised tasks")
    parser.add_argument("--from_scratch", action="store_true", help=f"do not start from the shipped cold-started policy ({COLD_START})")
    parser.add_argument("--scenes", type=int, default=1500, help="rendered scenes, a tenth of them held out")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    root = root_folder(args.photos, args.from_scratch)
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / ".writable").write_text("")
        (root / ".writable").unlink()
    except OSError as error:
        say(f"quickstart: cannot write to {root}: {error.strerror}; run it in a folder you may write to")
        return 2
    if args.photos and not Path(args.photos).is_dir():
        say(f"quickstart: PHOTOS={args.photos} is no folder; give a folder of pictures")
        return 2
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    plan = steps(root, args.photos, args.from_scratch, args.scenes, args.seed)
    (root / "story.json").write_text(json.dumps(story(root, plan, args.from_scratch)))
    code = StepRunner(root, plan).run()
    if code:
        return code
    finish(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
