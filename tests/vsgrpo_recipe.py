"""Whether vsGRPO's recipe, unchanged, asks and pays questions of any source."""

from collections.abc import Sequence

from configs import vsgrpo_qwen2_vl_2b
from spatial_jax import config as run_config
from spatial_jax.data import PromptStyle, QuestionEncoder, QuestionRecord, Unusable
from spatial_jax.data.prompts import target_text
from spatial_jax.forms import get_form
from spatial_jax.processing import Processor
from spatial_jax.rewards import check_record, score
from spatial_jax.rewards.rule import RewardRule, reward_spec


def check_asked_by_vsgrpo(records: Sequence[QuestionRecord]) -> None:
    """Each clip fits the recipe's buckets in every form, and the paper's reward pays the right answer in full."""
    for arg in ("grpo,vanilla", "grpo,think", "grpo,observe"):
        run = run_config.strict(vsgrpo_qwen2_vl_2b.get_config(arg))
        data, form = run.data, get_form(run.data.prompt_mode)
        limits = {"video_min_pixels": data.video_min_pixels, "video_max_pixels": data.video_max_pixels}
        processor = Processor.from_pretrained("configs/quickstart_policy", frames=data.frames, **limits)
        encoder = QuestionEncoder(processor, PromptStyle(data.prompt_mode, data.system, data.frames, data.fps))
        for record in records:
            asked = encoder.encode(record)
            assert not isinstance(asked, Unusable), asked
            assert 0 < len(asked.prompt.input_ids) <= max(data.prompt_buckets)
            truth = record.as_dict()
            spec = reward_spec(truth, RewardRule(form.format, 0.0, by_family=("vsi_*=vsgrpo",)))
            check_record(spec, truth)
            assert score(spec, target_text(record, data.prompt_mode), truth) == 1.0 + form.tagged
