"""The flags of `python -m spatial_jax.evaluate`."""

from __future__ import annotations

from absl import flags
from ml_collections import config_flags

from spatial_jax.evals.registry import benchmark_names
from spatial_jax.options import define_list

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Settings: configs/eval_spatial.py[:full|vilasr|tiny|draw_tiny]; or a training recipe: asked, sampled and scored as"
    " its run.",
)
MODEL = flags.DEFINE_string("model", None, "Checkpoint directory in Hugging Face layout, or a hub name.")
BENCHMARKS = define_list(
    "benchmarks", f"Public benchmarks: {', '.join(benchmark_names())}; or all; or a suite: easi8 or general."
)
BENCHMARK = flags.DEFINE_string("benchmark", None, "The benchmark of --score_only.")
DATA = define_list("data", "Published files: DIR, or NAME=DIR for several benchmarks; empty: the hub.")
DATASET = define_list("dataset", "One or more data_prep question datasets, as a benchmark of their own families.")
SPLIT = flags.DEFINE_string("split", "heldout", "Split of --dataset.")
FAMILIES = define_list("families", "Only these families of --dataset.")
SCORING = flags.DEFINE_string(
    "scoring", "official", "official, lmms_eval, vlmevalkit, or another that the benchmark has."
)
SAMPLES = flags.DEFINE_integer("samples", None, "Answers an item (pass@k); replaces the config's.", lower_bound=1)
TEMPERATURE = flags.DEFINE_float("temperature", None, "Replaces the config's; 0 is greedy.", lower_bound=0.0)
GREEDY = flags.DEFINE_bool(
    "greedy_too", False, "Beside the sampled answers of --dataset also one greedy answer, in NAME.greedy.json."
)
TOKENS = flags.DEFINE_integer("max_new_tokens", None, "Replaces the config's.", lower_bound=1)
PROMPT_MODE = flags.DEFINE_string(
    "prompt_mode",
    None,
    "The response form that questions are asked in; default: as the policy was trained. published: benchmarks without a"
    " form, as their authors ask them. With --score_only: the form of the saved responses.",
)
SYSTEM = flags.DEFINE_string(
    "system", None, "System text; default: as trained, else the chat template's own (template); replaces the config's."
)
ROTATIONS = flags.DEFINE_integer(
    "rotations", 1, "Ask multiple-choice items with their options rotated this many ways.", lower_bound=1
)
LIMIT = flags.DEFINE_integer("limit", 0, "At most this many items, spread evenly; 0: all.", lower_bound=0)
OUT = flags.DEFINE_string("out", None, "Result file (one benchmark) or folder.")
WORKDIR = flags.DEFINE_string("workdir", None, "Run directory; results go to WORKDIR/eval.")
NAME = flags.DEFINE_string(
    "name", None, "Name of the result; default: the benchmark's, or the dataset's folder and split."
)
SCORE_ONLY = flags.DEFINE_string(
    "score_only",
    None,
    "Score this responses file; needs --dataset, or --benchmark (and --data unless its lines carry their items).",
)
COMPARE = flags.DEFINE_string("compare", None, "Compare this result (a) with the one named after it (b).")
TABLE = flags.DEFINE_string(
    "table",
    None,
    "Print li2025, li2025_ablation, vsgrpo, spatial_ssrl, vilasr, easi8 or general from the result files or folders"
    " named after it (or WORKDIR/eval), the published rows beside; drawing: what policies drew, by benchmark.",
)
JUDGE = {
    name: flags.DEFINE_string(f"judge_{name}", None, text)
    for name, text in (
        ("endpoint", "OpenAI-compatible base URL of a judge of answers whose reward asks one, and of unread answers."),
        ("model", "The judge's name at the endpoint."),
        ("key_variable", "Environment variable that holds the endpoint's key."),
        ("cache", "SQLite file that keeps the judge's verdicts."),
    )
}
JUDGE_CASES = flags.DEFINE_string(
    "judge_cases",
    None,
    "Hand-checked cases, lines of {question, answer, response, correct}: how far the judge agrees is told.",
)
LEAKAGE = flags.DEFINE_string("leakage", None, "A question dataset to search for the pictures of --benchmarks.")
PAGE = flags.DEFINE_bool("page", True, "Write an HTML page beside each result.")
