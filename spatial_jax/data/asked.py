"""How a policy was trained to be asked: response form, system text, answer length and pixel limits.

A policy answers as it was taught only where it is asked as it was taught, so an export remembers this: the form in
`spatial_jax.json`, the limits in the processor's own files, where transformers and servers read them. Chat, evaluation
and the pass rates that come of it take from there whatever they are not told (`settle`).
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from spatial_jax.forms import FORMS, USUAL, format_names
from spatial_jax.models import ASKING_FILE, checkpoint_directory, read_config
from spatial_jax.models.configs import DEFAULT_POSITION_RULE, POSITION_RULES
from spatial_jax.models.hub import checkpoint_json
from spatial_jax.processing import Processor
from spatial_jax.processing.settings import read_image_settings, read_video_settings

TEMPLATE = "template"  # the word that asks for the chat template's own system text where a policy was trained otherwise
_LIMITS = ("min_pixels", "max_pixels", "video_min_pixels", "video_max_pixels")


@dataclasses.dataclass(frozen=True)
class Asking:
    """`prompt_mode` and `system` as in PromptStyle (system None: the chat template's own); `max_new_tokens` of a reply,
    None where training did not limit it; `turns` and `max_pictures` of a policy that draws; `position_rule` of videos
    and the text after them; areas in pixels: of a picture, and of a video's frame (of the whole clip for Qwen3-VL);
    `frames` and `fps` of a video as in PromptStyle.

    How answers were paid: `format` where it is not the prompt mode's own, `format_weight`, `truncated_reward` and
    `gate` as in rewards' RewardRule (None: not known), `by_family` its rewards in the records' place, `user_function`
    the name of a run's own reward, which no export carries.
    """

    prompt_mode: str
    system: str | None = None
    max_new_tokens: int | None = None
    turns: int = 1
    max_pictures: int | None = None
    position_rule: str = DEFAULT_POSITION_RULE
    min_pixels: int | None = None
    max_pixels: int | None = None
    video_min_pixels: int | None = None
    video_max_pixels: int | None = None
    frames: int | None = None
    fps: float | None = None
    format: str | None = None
    format_weight: float | None = None
    truncated_reward: float | None = None
    gate: float | None = None
    by_family: tuple[str, ...] = ()
    user_function: str | None = None

    def limits(self) -> dict[str, int | None]:
        """The limits of pictures and videos by name, as a processor takes them."""
        return {name: getattr(self, name) for name in _LIMITS}

    def describe(self, name: str) -> str:
        """One field for a line of text."""
        value = getattr(self, name)
        if name == "system" and value is not None:
            return f"system {value[:40] + '...' if len(value) > 40 else value!r}"
        shown = "the template's own" if name == "system" else f"{value:,}" if isinstance(value, int) else value
        return f"{name} {shown}"


# What a checkpoint that does not say how it was trained is asked like.
UNKNOWN = Asking(USUAL, max_pixels=1_003_520, video_max_pixels=200_704)


def limits_of(processor: Processor) -> dict[str, int]:
    """The limits that a processor resizes by, under the names of Asking."""
    image, video = processor.image_settings, processor.video_settings.image
    return dict(zip(_LIMITS, (image.min_pixels, image.max_pixels, video.min_pixels, video.max_pixels)))


def read_asking(directory: str | Path) -> Asking | None:
    """How the policy in a checkpoint folder (or hub name) was trained to be asked; None where it does not say.
    ValueError, naming the file, for what cannot be that.
    """
    folder = checkpoint_directory(directory)
    path = folder / ASKING_FILE
    if not path.is_file():
        return None
    stated: Any = checkpoint_json(path)
    if not isinstance(stated, dict):
        raise ValueError(f"{path}: must be an object, not {type(stated).__name__}; export the policy again")
    if problem := _problem(stated):
        raise ValueError(
            f"{path}: {problem}; export the policy again, or remove the file to ask it like any checkpoint"
        )
    # The limits stand in the processor's own files, where other programs read them, too: kept twice they would part.
    pictures = read_config(folder).traits.pictures
    image, video = read_image_settings(folder, pictures), read_video_settings(folder, pictures).image
    limits: dict[str, Any] = dict(
        zip(_LIMITS, (image.min_pixels, image.max_pixels, video.min_pixels, video.max_pixels))
    )
    told = {key: value for key, value in stated.items() if value is not None}
    return Asking(**{**told, "by_family": tuple(stated.get("by_family") or ())}, **limits)


def _problem(stated: dict[str, Any]) -> str:
    """What is wrong with the content of such a file, "" where nothing is. It may have been edited, or be of another
    version: a form that is taken wrongly would make every answer score 0.
    """
    known = {field.name for field in dataclasses.fields(Asking)} - {*_LIMITS}
    problem = next((f"{key!r} is not known here" for key in stated if key not in known), "")
    if stated.get("prompt_mode") not in FORMS:
        problem = f"prompt_mode {stated.get('prompt_mode')!r} is not one of {', '.join(FORMS)}"
    if stated.get("position_rule", DEFAULT_POSITION_RULE) not in POSITION_RULES:
        problem = f"position_rule {stated['position_rule']!r} is not one of {', '.join(POSITION_RULES)}"
    if not isinstance(stated.get("system"), (str, type(None))):
        problem = f"system must be a text or null, not {stated['system']!r}"
    for key in ("format_weight", "truncated_reward", "gate"):
        value = stated.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            problem = f"{key} must be a number or null, not {value!r}"
    if not 0 <= (stated["format_weight"] if not problem and stated.get("format_weight") else 0) <= 1:
        problem = f"format_weight must lie between 0 and 1, not {stated['format_weight']!r}"
    if stated.get("format") is not None and stated["format"] not in format_names():
        problem = f"format {stated['format']!r} is not one of {', '.join(format_names())}"
    rewards = stated.get("by_family") or []
    if not (isinstance(rewards, list) and all(isinstance(text, str) for text in rewards)):
        problem = f"by_family must be a list of texts, not {rewards!r}"
    if not isinstance(stated.get("user_function"), (str, type(None))):
        problem = f"user_function must be a text or null, not {stated['user_function']!r}"
    rate = stated.get("fps")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1e6):
        problem = f"fps must be a number above 0, not {rate!r}"
    for key in ("max_new_tokens", "turns", "max_pictures", "frames"):
        value = stated.get(key)
        if value is not None and (type(value) is not int or value < 1):
            problem = f"{key} must be a whole number above 0, not {value!r}"
    return problem


def settle(directory: str | Path, told: dict[str, Any]) -> tuple[Asking, str]:
    """(how to ask the policy in `directory`, a line that says so). `told`: fields of Asking that somebody set; None is
    not set, and system TEMPLATE is the template's own. The rest is as the policy was trained, or UNKNOWN's.
    """
    trained = read_asking(directory)
    given: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    if given.get("system") == TEMPLATE:
        given["system"] = None
    chosen = dataclasses.replace(trained or UNKNOWN, **given)
    if trained is not None and chosen.prompt_mode != trained.prompt_mode:
        chosen = dataclasses.replace(chosen, format=None)  # another form is read as that form
    shown = ["prompt_mode", "system", *(n for n in _LIMITS if getattr(chosen, n) is not None)]
    shown += [name for name in ("frames", "fps", "max_new_tokens") if getattr(chosen, name) is not None]
    line = ", ".join(chosen.describe(name) for name in shown)
    if trained is None:
        return chosen, f"{directory} does not say how it was trained to be asked; asked with {line}"
    other = differences(trained, chosen)
    if not other:
        return chosen, f"asked as it was trained: {line}"
    return chosen, f"asked with {line}; trained otherwise: " + ", ".join(trained.describe(name) for name in other)


def differences(trained: Asking, now: Asking) -> list[str]:
    """Names of what differs and matters to an answer. A longer limit for answers does not."""
    compared = ("prompt_mode", "system", "position_rule", *_LIMITS, "frames", "fps")
    names = [n for n in compared if getattr(trained, n) != getattr(now, n)]
    if trained.max_new_tokens and now.max_new_tokens and now.max_new_tokens < trained.max_new_tokens:
        names.append("max_new_tokens")
    return names


def write_asking(directory: str | Path, asking: Asking | None, processor: Processor) -> None:
    """Makes the checkpoint in `directory`, whose processor files are there, remember `asking` (None: the form it came
    with) and the limits of `processor`.
    """
    folder, limits = Path(directory), limits_of(processor)
    image, video = ((limits[f"{kind}min_pixels"], limits[f"{kind}max_pixels"]) for kind in ("", "video_"))
    out: dict[str, Any] = {}
    whole = checkpoint_json(folder / "processor_config.json")
    pictures, clips = (
        checkpoint_json(folder / "preprocessor_config.json"),
        checkpoint_json(folder / "video_preprocessor_config.json"),
    )
    if whole.get("image_processor"):
        whole["image_processor"] = _with_limits(whole["image_processor"], image)
    if whole.get("video_processor"):
        whole["video_processor"] = _with_limits(whole["video_processor"], video)
    if whole.get("image_processor") or whole.get("video_processor"):
        out["processor_config.json"] = whole
    if pictures:
        out["preprocessor_config.json"] = _with_limits(pictures, image)
    if clips or (pictures and not whole.get("video_processor")):
        # Older folders have one file for both, whose limits would be the pictures'.
        out["video_preprocessor_config.json"] = _with_limits(clips or _of_videos(pictures), video)
    if asking is not None:
        out[ASKING_FILE] = {k: v for k, v in dataclasses.asdict(asking).items() if k not in _LIMITS}
    for name, value in out.items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _with_limits(stated: dict[str, Any], limits: tuple[int, int]) -> dict[str, Any]:
    """A processor's settings with other limits, in both spellings: transformers 4 reads one, 5 the other."""
    low, high = limits
    return {
        **stated,
        "size": {"shortest_edge": low, "longest_edge": high},
        "min_pixels": low,
        "max_pixels": high,
    }


def _of_videos(pictures: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in pictures.items() if key != "image_processor_type"}
    return {**rest, "video_processor_type": "Qwen2VLVideoProcessor"}
