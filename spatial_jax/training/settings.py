"""Everything a training run can be told, as frozen dataclasses. `spatial_jax.config` fills them from a ConfigDict,
strictly.

Defaults are Li 2025's where the paper states a value and Skywork-OR1's or EasyR1's where it is silent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Annotated, Literal

from spatial_jax.forms import FormName, get_form
from spatial_jax.parallel.rules import MESH_AXES, changed_rules
from spatial_jax.processing import PATCH_BUCKETS
from spatial_jax.ranges import (
    Above1,
    AtLeast2,
    Axis,
    Buckets,
    Choice,
    Count,
    Finite,
    NotNegative,
    Positive,
    Seed,
    Seed32,
    Share,
    ShareAbove0,
    ShareBelow1,
    Ways,
    Whole,
    check_ranges,
)
from spatial_jax.rl import EntropyConfig, ReferenceConfig
from spatial_jax.rl.curriculum import CurriculumConfig
from spatial_jax.rl.surrogates import OBJECTIVES


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The policy and which of its parameters train."""

    path: str = ""  # directory in Hugging Face layout, or a hub name
    dtype: Literal["float32", "bfloat16"] = "bfloat16"  # activations
    param_dtype: Literal["float32", "bfloat16"] = "float32"  # master weights
    remat: str = "full"  # what the backward pass recomputes: none | full | a named policy
    position_rule: Literal["qwen", "4.57", "hf5"] = "qwen"  # M-RoPE positions of videos and the text after them
    freeze: tuple[str, ...] = ()  # of: vision, merger, embed, head, text
    lora_rank: Whole = 0  # 0 trains the weights themselves
    lora_alpha: Positive = 64.0  # adapters are scaled by lora_alpha / lora_rank
    lora_targets: str = r"text\.layers\.(q|k|v|o|gate|up|down)_proj"  # regular expression over names of linear layers


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Question datasets and how a record becomes a prompt."""

    paths: tuple[str, ...] = ()  # directories that data_prep wrote
    weights: tuple[NotNegative, ...] = ()  # mixture weights; empty: by size
    split: str = "train"  # of the datasets
    families: tuple[str, ...] = ()  # only these question families; empty: all
    prompt_mode: FormName = "think_answer"  # the response form: see forms.py
    system: str | None = None  # system message; None: the chat template's own
    min_pixels: Count | None = None  # None: the checkpoint's
    max_pixels: Count | None = 1003520  # area of a picture as the model sees it
    video_min_pixels: Count | None = None  # of a video's frame (of the whole clip for Qwen3-VL); None: the checkpoint's
    video_max_pixels: Count | None = None  # likewise
    frames: AtLeast2 | None = None  # evenly spaced frames of a video; None: all that its record holds
    fps: Positive | None = None  # frames a second of a video, at most `frames` of them; None: evenly spaced
    prompt_buckets: Buckets = (512, 1024, 2048, 4096)  # prompt tokens, pictures included
    patch_buckets: Buckets = PATCH_BUCKETS  # patches of a micro-batch or of a prefill
    together: Count = 1  # SFT: questions on one picture that are packed behind it
    check: bool = True  # measure every record before step 0; what does not fit is named and left out
    workers: Whole = 0  # worker processes of the input pipeline
    cache_mib: Whole = 2048  # encoded prompts kept in memory
    # Of a tower that does not train (LoRA, or model.freeze of vision and merger) each picture's features are computed
    # once a step for all passes; with room for them here, once a run
    feature_cache_gib: NotNegative = 0.0
    # A folder that keeps them over runs, bounded by as much again, all runs that share it together; empty: memory alone
    feature_cache: str = ""
    seed: Seed = 0  # order of the questions


MOST_CHUNKS = 32  # that a prompt passes in


@dataclasses.dataclass(frozen=True)
class RolloutSettings:
    """Sampling of answers (Li 2025: 16 answers a prompt, temperature 1, top_p 0.7)."""

    group_size: Count = 16  # answers a prompt
    temperature: NotNegative = 1.0  # above 0 for GRPO
    top_p: ShareAbove0 = 0.7  # only the likeliest tokens of this mass; 1: all
    top_k: Whole = 0  # only so many of the likeliest tokens; 0: all
    min_p: ShareBelow1 = 0.0  # only tokens with this share of the likeliest one's probability; 0: all
    max_new_tokens: Count = 8192  # of a reply; a longer one is cut
    max_slots: Count = 1024  # answers decoded at once
    # Tokens of prompts that pass at a time while sampling, a device; a longer prompt passes in chunks of so many
    max_prefill_tokens: Count = 32768
    answer_buckets: Buckets = (256, 1024, 4096, 8192)  # lengths that answers are padded to
    kv_dtype: Literal["auto", "bfloat16", "int8"] = "auto"  # of the key-value cache; auto: model.dtype
    # Of the decoder's matrices while sampling. int8: with a scale for each output, made anew of every step's weights;
    # another policy than the trainer's, so algorithm.is_cap must be set
    weights: Literal["auto", "int8"] = "auto"
    # On a mesh: devices around one whole copy of the weights while sampling. -1: as many as the model divides over,
    # where training shards weights; 0: the trainer's shards, gathered for every token.
    tensor: Ways = -1
    # Neighbouring questions on one clip, or on the same pictures, that pass it together, in sampling and in the update;
    # data.together is supervised training's
    together: Count = 1
    turns: Count = 1  # replies of a sample; above 1 the policy draws between them (data.prompt_mode "drawing"),
    # and SFT teaches the turns that records demonstrate
    max_tokens: Whole = 0  # tokens of all turns together, shown pictures included; 0: max_new_tokens, which is a turn's
    max_pictures: Count = 42  # a sample may come to, those of the question included
    # A drawing whose every point lies within so many pixels of an earlier one of its kind repeats it, which ends the
    # sample; 0, as published: only the same one
    repeat_px: NotNegative = 0.0
    # Sample the next step's answers while this step's are scored: one step old, so algorithm.is_cap must be set
    overlap: bool = False

    @property
    def total_tokens(self) -> int:
        """Most tokens of a sample after its prompt."""
        return self.max_tokens or self.max_new_tokens


ObjectiveName = Annotated[str, Choice(lambda: OBJECTIVES)]


@dataclasses.dataclass(frozen=True)
class AlgorithmSettings:
    """The policy objective (defaults: Li 2025; KL estimator and aggregation from EasyR1 and Skywork-OR1)."""

    kind: ObjectiveName = "grpo"  # see rl/surrogates.py
    clip_low: Share = 0.20  # the ratio of new to old probability is clipped at 1 - clip_low
    clip_high: NotNegative = 0.25  # and at 1 + clip_high; with one update a rollout it is 1 and neither acts
    dual_clip: Above1 | None = None  # bounds the loss of bad answers at this ratio; None: off
    aggregate: Literal["token", "sequence", "constant"] = (
        "token"  # mean over all tokens, of answers' means, or by a constant length
    )
    kl_coef: NotNegative = 0.01  # of the distance to the reference; 0: no reference is kept
    kl: Literal["k1", "k2", "k3"] = "k3"  # its estimator
    kl_in: Literal["loss", "reward"] = (
        "loss"  # a term of the loss, or a penalty of each answer's reward before the advantages
    )
    is_cap: Positive | None = None  # truncated importance correction of the sampler-trainer gap; None: off
    drop_zero_variance: bool = True  # groups whose answers all earn the same give no gradient: do not compute it
    refill_rounds: Count = 1  # rounds of rollouts to fill a batch with groups that have a gradient (DAPO); 1: no refill
    mask_truncated: bool = False  # answers cut at the limit do not train


@dataclasses.dataclass(frozen=True)
class RewardSettings:
    """How responses are scored; each record names its own kind and parameters."""

    format: str = ""  # laid over kinds without a format of their own; empty: what the prompt mode asks for
    format_weight: Share = 0.1  # of the form in the reward; the rest is the answer's
    gate: ShareBelow1 | None = None  # of a policy that draws: an answer must score above it to be paid at all (ViLaSR's
    # threshold beta, 0 as published); None: as the record says, which is 0
    by_family: tuple[str, ...] = ()  # rewards in the records' place, the first that fits: "FAMILY=REWARD", where FAMILY
    # may hold * and REWARD is a kind, e.g. "relation=judge", "vsi_*=vsgrpo", "distance=mra:tolerance=0.1"
    user_file: str = ""  # a Python file with a function reward(response, record) -> float
    user_function: str = "reward"  # its name in that file
    user_memory_gib: NotNegative = 16.0  # most address space of a process that runs the function; 0: no bound
    threads: Count = 8  # answers that a judge or a user's function scores at a time, over all groups
    deadline_s: Positive = 30.0  # of a group's scores; what is late takes no part, it does not score 0
    truncated_reward: Finite | None = (
        None  # of an answer cut off at max_new_tokens; None: what its text earns, which lets lengths grow
    )
    judge_endpoint: str = ""  # OpenAI-compatible base URL for records of kind "judge", e.g. http://localhost:8000/v1
    judge_model: str = ""  # the model's name at the endpoint
    judge_key_variable: str = ""  # environment variable that holds the endpoint's key; empty: none
    judge_cache: str = ""  # SQLite file that keeps verdicts; empty: in memory


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """AdamW (Li 2025: 1e-6, weight decay 0.01, betas 0.9 and, from EasyR1, 0.999)."""

    learning_rate: NotNegative = 1e-6  # its peak
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup_steps: Whole = 0  # optimizer steps of linear growth
    final_fraction: Share = 0.0  # learning rate at the end over the peak, for cosine and linear
    beta1: ShareBelow1 = 0.9
    beta2: ShareBelow1 = 0.999
    epsilon: Positive = 1e-8
    weight_decay: NotNegative = 0.01  # decoupled (AdamW)
    grad_clip: NotNegative = 1.0  # largest global norm of a gradient; 0: off
    vision_learning_rate: NotNegative | None = (
        None  # of the vision tower, None: learning_rate; the schedule applies to all alike
    )
    merger_learning_rate: NotNegative | None = None  # of the merger
    moments: Literal["float32", "bfloat16", "int8"] = "float32"  # how Adam's moments are stored


@dataclasses.dataclass(frozen=True)
class DpoSettings:
    """Direct preference optimisation against corrupted answers (vsGRPO's baseline)."""

    beta: Positive = 0.1  # weight of the implied reward: larger keeps the policy nearer to its start


@dataclasses.dataclass(frozen=True)
class ValidationSettings:
    """Held-out questions asked while training, always the same ones."""

    every: Whole = 0  # steps between validations, the first before step 0; 0: none
    questions: Count = 256  # of all `data.paths` together
    split: str = "heldout"
    samples: Count = 1  # answers a question
    temperature: NotNegative = 0.0  # 0: the greedy answer


@dataclasses.dataclass(frozen=True)
class CheckpointSettings:
    every: Count = 50  # steps between saves; the last step is saved, too
    keep: Count = 3  # newest saves that stay


@dataclasses.dataclass(frozen=True)
class LogSettings:
    sinks: tuple[Literal["jsonl", "console", "tensorboard", "wandb", "trackio"], ...] = (
        "jsonl",
        "console",
        "tensorboard",
    )  # where rows go
    console_format: Literal["lines", "json", "logfmt"] = "lines"  # json, logfmt: a row is one line for a log collector
    project: str = "spatial_jax"  # of wandb and trackio
    title: str = ""  # the run's name there; empty: the name of its directory
    profile_steps: tuple[Count, ...] = ()  # (first, last): steps traced by jax.profiler into WORKDIR/profile; (): none
    console_every: Count = 1  # steps between rows of the log
    table_every: Whole = 100  # rows between tables on the console; 0: none
    initial_kl_every: Whole = (
        0  # steps between measures of the KL to the policy the run began with (keeps a copy); 0: never
    )
    watchdog_s: NotNegative = 3600.0  # a phase of a step that takes longer is named in the log of its process; 0: never
    gallery_every: Whole = 20  # steps between galleries of answers; 0: none
    gallery_groups: Whole = 4  # questions in one


@dataclasses.dataclass(frozen=True)
class MeshSettings:
    """Devices by axis; -1 takes what is left."""

    data: Axis = 1  # copies of the model
    fsdp: Axis = -1  # devices that share its weights
    tensor: Axis = 1  # devices that share each layer
    # Logical axes moved from where parallel/rules.py puts them: "vocab=fsdp", "batch=data+fsdp", "mlp=" (whole)
    rules: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Devices by mesh axis, as `make_mesh` takes them."""
        return {axis: getattr(self, axis) for axis in MESH_AXES}


def _method_names() -> Iterable[str]:
    from spatial_jax.training.methods import METHODS  # the methods read these settings

    return METHODS


MethodName = Annotated[str, Choice(_method_names)]


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    method: MethodName = "grpo"  # align: words for what a fresh policy sees
    steps: Count = 1000  # rollouts with their updates (GRPO), or batches
    prompts: Count = 256  # prompts a rollout (GRPO) or examples a step (SFT, DPO)
    update_prompts: Count = 256  # prompts an optimizer step; fewer than `prompts`: several steps a rollout
    micro_prompts: Count = 16  # prompts a forward and backward pass
    micro_answers: Whole = (
        0  # GRPO: answers of a group in one such pass, where long groups need too much memory; 0: all
    )
    seed: Seed32 = 0  # of the sampled answers


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One training run."""

    train: TrainSettings = TrainSettings()
    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    rollout: RolloutSettings = RolloutSettings()
    algorithm: AlgorithmSettings = AlgorithmSettings()
    entropy: EntropyConfig = EntropyConfig()
    reference: ReferenceConfig = ReferenceConfig(mode="every_n", n=200)
    curriculum: CurriculumConfig = CurriculumConfig(enabled=False)
    offline_pass_rates: str = (
        ""  # offline pass rates for the curriculum: an evaluation's NAME.json, or JSON lines; empty: none
    )
    reward: RewardSettings = RewardSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    dpo: DpoSettings = DpoSettings()
    validation: ValidationSettings = ValidationSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    log: LogSettings = LogSettings()
    mesh: MeshSettings = MeshSettings()

    def check(self) -> None:
        """Raises ValueError, one line, where a value is out of its range or two contradict each other."""
        from spatial_jax.training.method import method_of  # the methods read these settings

        check_ranges(self)
        train, method = self.train, method_of(self)
        if self.entropy.low > self.entropy.high:
            raise ValueError(
                f"config.entropy.low = {self.entropy.low} is above config.entropy.high = {self.entropy.high}"
            )
        if train.prompts % train.update_prompts or train.update_prompts % train.micro_prompts:
            raise ValueError(
                f"config.train: prompts ({train.prompts}) must be a multiple of update_prompts ({train.update_prompts})"
                f" and that of micro_prompts ({train.micro_prompts})"
            )
        if train.micro_answers and self.rollout.group_size % train.micro_answers:
            raise ValueError(
                f"config.train.micro_answers = {train.micro_answers} must divide config.rollout.group_size ="
                f" {self.rollout.group_size}"
            )
        try:
            changed_rules(self.mesh.rules)
        except ValueError as error:
            raise ValueError(f"config.mesh.rules: {error}") from None
        algorithm, allowed = self.algorithm, OBJECTIVES[self.algorithm.kind].aggregates
        if method.samples and algorithm.aggregate not in allowed:
            raise ValueError(
                f"config.algorithm.kind = {algorithm.kind!r} is not defined with aggregate {algorithm.aggregate!r}; set"
                f" config.algorithm.aggregate to {' or '.join(map(repr, allowed))}"
            )
        traced = self.log.profile_steps
        if traced and (len(traced) != 2 or traced[0] > traced[1]):
            raise ValueError(f"config.log.profile_steps = {traced}: give the first and the last step, e.g. (5, 7)")
        if self.data.weights and len(self.data.weights) != len(self.data.paths):
            raise ValueError(f"config.data: {len(self.data.weights)} weights for {len(self.data.paths)} paths")
        if self.data.feature_cache and not self.data.feature_cache_gib:
            raise ValueError("config.data.feature_cache is a folder without room: set config.data.feature_cache_gib")
        if self.rollout.overlap and (not method.samples or self.algorithm.is_cap is None):
            raise ValueError(
                "config.rollout.overlap trains on answers of the policy before the last update: it needs a method that"
                " samples (grpo) and their importance correction; set config.algorithm.is_cap (2.0 is usual)"
            )
        rollout = self.rollout
        if rollout.weights == "int8" and (not method.samples or self.algorithm.is_cap is None):
            raise ValueError(
                "config.rollout.weights = 'int8' samples with another policy than the trained one: it needs a"
                " method that samples (grpo) and importance correction; set config.algorithm.is_cap (2.0 is usual)"
            )
        if rollout.turns > 1 and (
            not get_form(self.data.prompt_mode).several_turns
            or not method.turns
            or rollout.overlap
            or self.data.together > 1
        ):
            raise ValueError(
                "config.rollout.turns > 1 needs config.data.prompt_mode = 'drawing' and a method that can teach"
                " turns (sft, grpo), and does not go with rollout.overlap or data.together"
            )
        if self.reward.gate is not None and not get_form(self.data.prompt_mode).several_turns:
            raise ValueError(
                f"config.reward.gate = {self.reward.gate} is of a policy that draws (config.data.prompt_mode ="
                " 'drawing'); leave it out"
            )
        if rollout.together > 1:
            check_together(self, method.samples)
        if method.samples:
            check_chunks(self)
        least = min(rollout.turns, 2)
        if rollout.total_tokens < least * rollout.max_new_tokens:
            raise ValueError(
                f"config.rollout.max_tokens = {rollout.total_tokens} of all turns has no room for {least} of"
                f" max_new_tokens = {rollout.max_new_tokens}; raise it, and answer_buckets with it"
            )
        if rollout.total_tokens > max(rollout.answer_buckets):
            raise ValueError(
                f"config.rollout.max_{'' if rollout.max_tokens else 'new_'}tokens = {rollout.total_tokens} exceeds the"
                " largest of answer_buckets"
            )
        if self.reference.mode == "val_plateau" and not self.validation.every:
            raise ValueError("config.reference.mode = 'val_plateau' needs validations: set config.validation.every")
        if self.validation.every and not method.asks:
            raise ValueError("config.validation.every: alignment has no questions to validate on; set it to 0")
        if self.validation.samples > 1 and not self.validation.temperature:
            raise ValueError(
                "config.validation.samples > 1 with temperature 0 would repeat one answer; set"
                " config.validation.temperature"
            )
        method.check(self)


def check_chunks(run: RunConfig) -> None:
    """Raises ValueError where config.rollout.max_prefill_tokens cuts the longest prompt into very many pieces."""
    longest, size = max(run.data.prompt_buckets), run.rollout.max_prefill_tokens
    if longest > MOST_CHUNKS * size:
        raise ValueError(
            f"config.rollout.max_prefill_tokens = {size} cuts a prompt of {longest} tokens into more than {MOST_CHUNKS}"
            f" chunks, each a piece of the program; set it to {-(-longest // MOST_CHUNKS)} or more"
        )


def check_together(run: RunConfig, samples: bool) -> None:
    """Raises ValueError where config.rollout.together cannot be had: answers stand behind their questions' own ends, a
    clip's answers are all decoded at once.
    """
    rollout, what = run.rollout, f"config.rollout.together = {run.rollout.together}"
    if not samples or rollout.turns > 1 or run.algorithm.kl_in == "reward":
        raise ValueError(
            f"{what} is for methods that sample (grpo), with rollout.turns = 1 and algorithm.kl_in = 'loss'; supervised"
            " training takes data.together"
        )
    if max(rollout.answer_buckets) <= rollout.total_tokens:
        raise ValueError(
            f"{what}: the words of a question stand before its answer and need room behind the clip; add a bucket above"
            f" max_new_tokens = {rollout.total_tokens} to config.rollout.answer_buckets, by what a question is long"
        )
    if rollout.together * rollout.group_size > rollout.max_slots:
        raise ValueError(
            f"{what} questions of {rollout.group_size} answers are decoded at once, more than config.rollout.max_slots"
            f" = {rollout.max_slots}; lower it or raise max_slots"
        )
    if run.train.micro_prompts < rollout.together:
        raise ValueError(
            f"{what} questions pass in one micro-batch, more than config.train.micro_prompts ="
            f" {run.train.micro_prompts}"
        )
