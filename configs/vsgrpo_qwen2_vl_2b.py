"""vsGRPO (arXiv 2504.00883): Qwen2-VL-2B on VSI-100k, GRPO without a cold start, and the paper's SFT and DPO baselines.

    python -m spatial_jax.train --config=configs/vsgrpo_qwen2_vl_2b.py:grpo,vanilla --workdir=runs/vsgrpo \
        --config.model.path=Qwen2-VL-2B-Instruct --config.data.paths='("DIR",)'
    ... --config=configs/vsgrpo_qwen2_vl_2b.py:grpo,think    (or grpo,observe)
    ... --config=configs/vsgrpo_qwen2_vl_2b.py:sft           (or dpo): short answers, as the paper's baselines

Questions: data_prep's VSI generator over ScanNet-like scenes, or the released JSON through the importers. "open" marks
what the paper leaves open.
"""

from ml_collections import ConfigDict

from configs import common

PROMPT_MODES = {"think": "think_answer", "observe": "observe_answer", "vanilla": "vanilla"}
# What differs between the methods. Open: DPO's beta is the method's usual one, its rate is usual for LoRA.
METHODS: dict[str, dict] = {
    "grpo": {},
    "sft": dict(log=dict(gallery_every=0)),
    "dpo": dict(log=dict(gallery_every=0), dpo=dict(beta=0.1), optimizer=dict(learning_rate=5e-6)),
}
AREA = (128 * 28 * 28, 256 * 28 * 28)  # open: of a picture or a frame, 16 frames (ours)
PIXELS = dict(zip(("min_pixels", "max_pixels", "video_min_pixels", "video_max_pixels"), AREA * 2))


def get_config(arg: str = "grpo,vanilla") -> ConfigDict:
    """`arg`: METHOD[,MODE] with method grpo, sft or dpo and mode vanilla (default), think or observe."""
    return recipe(arg, learning_rate=1e-5, file="vsgrpo_qwen2_vl_2b")


def recipe(arg: str, learning_rate: float, file: str) -> ConfigDict:
    """The recipe of either size; the paper's sizes differ in the learning rate. Raises ValueError for an unknown
    argument.
    """
    method, _, mode = arg.partition(",")
    mode = mode or "vanilla"
    if method not in METHODS or mode not in PROMPT_MODES:
        raise ValueError(
            f"configs/{file}.py takes :METHOD[,MODE] of {', '.join(METHODS)} and {', '.join(PROMPT_MODES)}, not {arg!r}"
        )
    answer = 256 if mode == "vanilla" else 1024  # open: longest answer, ours
    config = common.base(
        train=dict(
            method=method,
            prompts=32,
            update_prompts=32,
            micro_prompts=16,  # open: batch, ours
            steps=3600,
        ),  # open: one epoch of VSI-100k's 117,000 questions
        model=dict(
            lora_rank=64, lora_alpha=128.0, freeze=("vision", "merger")
        ),  # LoRA; open: rank, alpha and targets, ours
        data=dict(
            PIXELS, frames=16, prompt_mode=PROMPT_MODES[mode], prompt_buckets=(1024, 2304, 4096)
        ),  # 2,304: 16 frames and their question
        rollout=dict(
            group_size=14,
            temperature=1.0,
            top_p=1.0,  # open: top_p, trl's default
            max_new_tokens=answer,
            answer_buckets=(32, 64, 256) if answer == 256 else (64, 256, 512, 1024),
        ),
        algorithm=dict(
            kind="grpo",
            clip_low=0.2,
            clip_high=0.2,
            dual_clip=None,  # open: trl's default
            kl_coef=1e-4,
            kl="k3",
            aggregate="sequence",
            drop_zero_variance=False,
        ),  # open: trl's mean of sequence means
        reference=dict(mode="none"),  # the instruct model, never replaced
        curriculum=dict(enabled=False),
        # The paper adds accuracy and format, each worth 1; group advantages do not see the common scale, so that is one
        # half each.
        reward=dict(format_weight=0.0 if mode == "vanilla" else 0.5),
        optimizer=dict(
            learning_rate=learning_rate, schedule="constant", weight_decay=0.0, beta1=0.9, beta2=0.999, grad_clip=1.0
        ),  # open: R1-V
        checkpoint=dict(every=100, keep=3),
    )
    config.update(METHODS[method])
    return config
