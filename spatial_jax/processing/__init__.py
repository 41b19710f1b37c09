"""Host side of a prompt: pictures, videos, chat template, positions, buckets; NumPy and PIL only. Names load on first
use.
"""

from typing import TYPE_CHECKING

from spatial_jax.lazy import lazy_names

if TYPE_CHECKING:
    from spatial_jax.processing.buckets import ANSWER_BUCKETS, PATCH_BUCKETS, PROMPT_BUCKETS, choose_bucket
    from spatial_jax.processing.collate import AnswerTurn, collate_answers, collate_prompts, collate_turns
    from spatial_jax.processing.fresh import train_tokenizer
    from spatial_jax.processing.image import ImageError, load_image, smart_resize
    from spatial_jax.processing.processor import Processor
    from spatial_jax.processing.prompt import EncodedPrompt, Prepared
    from spatial_jax.processing.tokenizer import ChatTokenizer
    from spatial_jax.processing.video import Video

__getattr__, __all__ = lazy_names(__name__, __file__)
