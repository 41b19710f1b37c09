"""Question datasets to encoded questions: records, sources, prompts, the Grain pipeline. Names load on first use."""

from typing import TYPE_CHECKING

from spatial_jax.lazy import lazy_names

if TYPE_CHECKING:
    from spatial_jax.data.cache import ByteCache
    from spatial_jax.data.encode import EncodedQuestion, QuestionEncoder
    from spatial_jax.data.integrity import DatasetError
    from spatial_jax.data.pipeline import PipelineSettings, QuestionPipeline
    from spatial_jax.data.plan import QuestionPlan, plan_questions
    from spatial_jax.data.prompts import PromptStyle, answer_text, build_messages, instruction, target_text
    from spatial_jax.data.records import QuestionRecord, SceneObject, SceneRecord, resolve
    from spatial_jax.data.source import QuestionSource, Unusable, check_families, open_mixture, open_questions

__getattr__, __all__ = lazy_names(__name__, __file__)
