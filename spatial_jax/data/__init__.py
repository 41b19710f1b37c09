"""Question datasets to encoded questions: records, sources, prompts, the Grain pipeline. Names load on first use."""

from __future__ import annotations

import importlib
from typing import Any

_FILES = {
    "cache": ("ByteCache",),
    "encode": ("EncodedQuestion", "QuestionEncoder"),
    "integrity": ("DatasetError",),
    "pipeline": ("PipelineSettings", "QuestionPipeline"),
    "plan": ("QuestionPlan", "plan_questions"),
    "prompts": ("PromptStyle", "answer_text", "build_messages", "instruction", "target_text"),
    "records": ("QuestionRecord", "SceneObject", "SceneRecord", "resolve"),
    "source": ("QuestionSource", "Unusable", "check_families", "open_mixture", "open_questions"),
}
_HOME = {name: file for file, names in _FILES.items() for name in names}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
