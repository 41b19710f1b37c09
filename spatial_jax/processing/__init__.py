"""Host side of a prompt: pictures, videos, chat template, positions, buckets; NumPy and PIL only. Names load on first
use.
"""

from __future__ import annotations

import importlib
from typing import Any

_FILES = {
    "buckets": ("ANSWER_BUCKETS", "PATCH_BUCKETS", "PROMPT_BUCKETS", "choose_bucket"),
    "collate": ("AnswerTurn", "collate_answers", "collate_prompts", "collate_turns"),
    "fresh": ("train_tokenizer",),
    "image": ("ImageError", "load_image", "smart_resize"),
    "positions": ("batch_positions", "row_positions"),
    "processor": ("Processor",),
    "prompt": ("EncodedPrompt", "Prepared"),
    "tokenizer": ("ChatTokenizer",),
    "video": ("Video",),
    "vision_plan": ("plan_vision",),
}
_HOME = {name: file for file, names in _FILES.items() for name in names}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
