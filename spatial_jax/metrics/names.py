"""The names of the logged set: what each metric is called in metrics.jsonl, on the console and on the report page, and
how to read it.

Families and phases hang below a name with a slash: `reward/depth`, `pass_rate/closer`, `time/rollout`. A run may log
any other name; it is kept in every sink and drawn among "other".
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class MetricName:
    """`key` is what training writes; `aliases` are read as the same metric. `unit` is "", "%" (stored as a fraction),
    "s", "tokens" or "tokens/s"; `better` is "up", "down" or "" (neither); `log_scale` suggests a logarithmic axis.
    """

    key: str
    label: str
    short: str
    note: str
    unit: str = ""
    better: str = ""
    group: str = "learning"
    aliases: tuple[str, ...] = ()
    log_scale: bool = False


NAMES: tuple[MetricName, ...] = (
    MetricName(
        "reward/mean",
        "Mean reward",
        "reward",
        "Mean reward of the sampled answers; what the update pushes up.",
        better="up",
        aliases=("reward", "reward_mean"),
    ),
    MetricName(
        "pass_rate",
        "Pass rate",
        "pass",
        "Share of sampled answers that are correct.",
        "%",
        "up",
        aliases=("pass_rate/mean", "accuracy_sampled"),
    ),
    MetricName(
        "loss",
        "Loss",
        "loss",
        "The minimised objective. For GRPO it starts at 0 by construction and is no measure of progress.",
        better="",
        aliases=("loss/total", "loss_total"),
    ),
    MetricName(
        "accuracy",
        "Token accuracy",
        "acc",
        "Share of target tokens that are the most likely one (SFT).",
        "%",
        "up",
        aliases=("token_accuracy",),
    ),
    MetricName(
        "dpo/accuracy",
        "Pairs told apart",
        "pairs right",
        "Share of pairs whose chosen answer gained more than the rejected one.",
        "%",
        "up",
    ),
    MetricName(
        "align/named",
        "Objects named",
        "objects named",
        "Share of an object's visual tokens whose best word is one of the object's. Soon 100 %: the loss then falls by"
        " places and names.",
        "%",
        "up",
    ),
    MetricName(
        "align/place_nll",
        "Places of visual tokens",
        "places",
        "Mean negative log-likelihood of the words for where a visual token is and how far; log 3 = 1.10 is perfect.",
        better="down",
    ),
    MetricName(
        "align/name_nll",
        "Places of names",
        "names",
        "The same for names in the text: looking up a named thing; log 3 = 1.10 is perfect.",
        better="down",
    ),
    MetricName(
        "entropy",
        "Entropy",
        "entropy",
        "Mean entropy of the next token, in nats. A fast fall ends exploration.",
        group="stability",
        aliases=("entropy/mean",),
    ),
    MetricName(
        "eval/reward",
        "Validation reward",
        "eval",
        "Mean reward of the held-out questions asked while training, greedy unless told otherwise.",
        better="up",
    ),
    MetricName(
        "eval/accuracy",
        "Validation accuracy",
        "eval acc",
        "Share of those questions that are answered rightly.",
        "%",
        "up",
    ),
    MetricName(
        "kl/reference",
        "KL to the reference",
        "kl",
        "Distance to the (refreshed) reference policy, nats a token.",
        better="down",
        group="stability",
        aliases=("kl", "kl_ref", "kl/ref"),
    ),
    MetricName(
        "kl/initial",
        "KL to the start",
        "kl0",
        "Distance to the policy that training started from, nats a token.",
        group="stability",
        aliases=("kl_initial", "kl/init"),
    ),
    MetricName(
        "clip/fraction",
        "Clip fraction",
        "clip",
        "Share of answer tokens whose ratio left the clip range.",
        "%",
        "down",
        group="stability",
        aliases=("clip_fraction", "clip_frac"),
    ),
    MetricName(
        "clip/low",
        "Clipped below",
        "clip-",
        "Share of tokens clipped at the lower bound.",
        "%",
        group="stability",
        aliases=("clip_fraction_low", "clip_low_fraction"),
    ),
    MetricName(
        "clip/high",
        "Clipped above",
        "clip+",
        "Share of tokens clipped at the upper bound.",
        "%",
        group="stability",
        aliases=("clip_fraction_high", "clip_high_fraction"),
    ),
    MetricName(
        "kl/old",
        "KL to the sampling policy",
        "kl old",
        "Distance that the update moved within the step, nats a token.",
        group="stability",
    ),
    MetricName(
        "ratio/mean", "Mean ratio", "ratio", "Mean of new over old probability; stays near 1.", group="stability"
    ),
    MetricName(
        "ratio/max", "Largest ratio", "ratio max", "Largest ratio of the step.", group="stability", log_scale=True
    ),
    MetricName(
        "update_skipped",
        "Skipped updates",
        "skipped",
        "1 where the gradient was not finite and the step was left out.",
        group="stability",
    ),
    MetricName(
        "reference/age",
        "Age of the reference",
        "ref age",
        "Steps since the reference was refreshed.",
        group="stability",
    ),
    MetricName(
        "grad_norm",
        "Gradient norm",
        "grad",
        "Global norm of the gradient before clipping.",
        group="stability",
        aliases=("gradient_norm",),
        log_scale=True,
    ),
    MetricName(
        "group/no_gradient",
        "Groups without gradient",
        "no-grad",
        "Share of groups whose answers all got the same reward.",
        "%",
        "down",
        group="groups",
        aliases=("no_gradient_share", "no_gradient", "group/zero_variance"),
    ),
    MetricName(
        "group/all_correct",
        "Groups all correct",
        "solved",
        "Share of groups in which every answer is correct.",
        "%",
        group="groups",
    ),
    MetricName(
        "group/none_correct",
        "Groups none correct",
        "unsolved",
        "Share of groups in which no answer is correct.",
        "%",
        group="groups",
    ),
    MetricName(
        "group/std",
        "Reward spread in a group",
        "spread",
        "Mean standard deviation of reward inside a group.",
        group="groups",
        aliases=("group_std", "reward/group_std"),
    ),
    MetricName(
        "length/mean",
        "Answer length",
        "len",
        "Mean tokens an answer.",
        "tokens",
        group="answers",
        aliases=("length", "answer_length", "response_length"),
    ),
    MetricName(
        "length/max",
        "Longest answer",
        "longest",
        "Most tokens in one answer.",
        "tokens",
        group="answers",
        aliases=("length_max", "answer_length_max"),
    ),
    MetricName("turns/mean", "Replies", "turns", "Mean replies of a sample that may draw.", group="answers"),
    MetricName(
        "turns/passed",
        "Tokens passed over distinct ones",
        "passed",
        "Tokens that passed the decoder in sampling, for each token of a prompt (once a group) or an answer.",
        "",
        "down",
        group="answers",
    ),
    MetricName("turns/drawn", "Drawings", "drawn", "Mean pictures that were drawn for a sample.", group="answers"),
    MetricName(
        "length/truncated",
        "Truncated answers",
        "cut",
        "Share of answers cut at the length limit.",
        "%",
        "down",
        group="answers",
        aliases=("truncated", "truncation", "truncated_share"),
    ),
    MetricName(
        "format/share",
        "Readable answers",
        "format",
        "Share of answers that the family's grammar can read.",
        "%",
        "up",
        group="answers",
        aliases=("format", "parse_rate", "format_rate", "parsed_share"),
    ),
    MetricName(
        "gap/mean",
        "Sampler gap",
        "gap",
        "Mean |log-prob of the sampler - log-prob of the trainer| on the same tokens.",
        better="down",
        group="stability",
        aliases=("sampler_gap", "gap/mean_abs", "gap"),
        log_scale=True,
    ),
    MetricName(
        "gap/max",
        "Largest sampler gap",
        "gap max",
        "Largest such difference of the step.",
        better="down",
        group="stability",
        aliases=("sampler_gap_max", "gap/max_abs"),
        log_scale=True,
    ),
    MetricName(
        "stale/mean",
        "Drift since sampling",
        "drift",
        "Mean |log-prob at sampling - log-prob before the update| of answers that are one step "
        "old (config.rollout.overlap); sampler gap included.",
        group="stability",
        log_scale=True,
    ),
    MetricName(
        "stale/max",
        "Largest drift since sampling",
        "drift max",
        "Largest such difference of the step.",
        group="stability",
        log_scale=True,
    ),
    MetricName(
        "importance/weight",
        "Importance weight",
        "weight",
        "Mean truncated weight of the answers' tokens (config.algorithm.is_cap).",
        group="stability",
    ),
    MetricName(
        "reward/excluded",
        "Answers without a score",
        "excluded",
        "Share of answers that no reward could judge; left out, not scored 0.",
        "%",
        "down",
        group="answers",
    ),
    MetricName("answer_tokens", "Answer tokens", "tokens", "Answer tokens in the update.", "tokens", group="speed"),
    MetricName(
        "programs", "Compiled programs", "programs", "Programs compiled so far; must stop growing.", group="speed"
    ),
    MetricName("learning_rate", "Learning rate", "lr", "Step size of the optimizer.", group="speed", aliases=("lr",)),
    MetricName(
        "time/step",
        "Seconds a step",
        "step",
        "Wall time of a whole step.",
        "s",
        "down",
        group="speed",
        aliases=("step_seconds", "time/total"),
    ),
    MetricName(
        "tokens_per_second",
        "Tokens a second",
        "tok/s",
        "Prompt (counted once a group) and answer tokens through the update.",
        "tokens/s",
        "up",
        group="speed",
        aliases=("throughput/tokens_per_second", "throughput/tokens"),
    ),
    MetricName(
        "vision/encoded",
        "Patches encoded",
        "patches",
        "Patches that a frozen vision tower saw in the step: each picture once for all passes.",
        group="speed",
    ),
    MetricName(
        "vision/reused",
        "Patches reused",
        "reused",
        "Patches of pictures whose features were there already, of the step or of the run.",
        group="speed",
    ),
    MetricName(
        "mfu",
        "Model FLOP utilisation",
        "mfu",
        "Useful FLOPs (vision included, no recomputation) over the hardware's peak.",
        "%",
        "up",
        group="speed",
        aliases=("mfu/train",),
    ),
)
GROUPS = {
    "learning": "Is it learning?",
    "stability": "Is it stable?",
    "groups": "Is there something to learn from?",
    "answers": "What do the answers look like?",
    "speed": "Where does the time go?",
    "other": "Everything else",
}

_BY_KEY = {name: entry for entry in NAMES for name in (entry.key, *entry.aliases)}


def metric_name(key: str) -> MetricName | None:
    """The entry of `key` or of its alias; None for a name outside the logged set."""
    return _BY_KEY.get(key)


def canonical(key: str) -> str:
    """`key` with aliases replaced by the name of the logged set; other names unchanged."""
    entry = _BY_KEY.get(key)
    return entry.key if entry else key
