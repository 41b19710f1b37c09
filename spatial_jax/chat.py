"""Ask a policy about pictures or a video.

    python -m spatial_jax.chat --model=DIR --image=a.jpg --question="Which is closer, the cup or the book?"
    python -m spatial_jax.chat --model=DIR --image=before.jpg --image=after.jpg --question="What moved?"
    python -m spatial_jax.chat --model=DIR --video=walk.mp4          # a conversation; /help lists its commands

    python -m spatial_jax.chat --model DIR --image a.jpg --prompt_mode=drawing --question "How many cups?"

The answer is printed as it comes. Boxes in it are drawn into a copy of the picture they were asked of (the first one),
beside the conversation's folder: PICTURE.boxes.png. Works on any checkpoint directory in Hugging Face layout, or a hub
name where there is a network.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from PIL import Image, ImageDraw

from spatial_jax.command_line import start
from spatial_jax.data import instruction
from spatial_jax.data.asked import UNKNOWN, Asking, settle
from spatial_jax.evals.protocol import item_messages
from spatial_jax.forms import FORMS, get_form
from spatial_jax.models import checkpoint_directory, default_dtype, load_pretrained
from spatial_jax.processing import EncodedPrompt, Processor, load_image
from spatial_jax.processing.user_text import as_text
from spatial_jax.processing.video import DEFAULT_FPS, Video, as_video, sample_video, with_frames
from spatial_jax.rewards.parsing.boxes import find_boxes
from spatial_jax.rollout import Engine
from spatial_jax.rollout.answerer import DRAWN_FRAMES, Answerer, Heard, drawing_asked, sampling_for

TOKENS, MAX_TOKENS = 512, 4096  # of an answer, where training did not say; and at the most

# Flags of its own: other verbs define the same names, and a program may import several.
_FLAGS = flags.FlagValues()
_MODEL = flags.DEFINE_string(
    "model", None, "Checkpoint directory in Hugging Face layout, or a hub name.", required=True, flag_values=_FLAGS
)
_IMAGE = flags.DEFINE_multi_string("image", [], "A picture; give it several times for several.", flag_values=_FLAGS)
_VIDEO = flags.DEFINE_multi_string("video", [], "A video file, or a folder of frames.", flag_values=_FLAGS)
_FPS = flags.DEFINE_float(
    "fps", None, "Frames a second of a --video that is a folder of frames.", lower_bound=1e-3, flag_values=_FLAGS
)
_QUESTION = flags.DEFINE_string(
    "question", None, "Ask this and leave; without it a conversation begins.", flag_values=_FLAGS
)
_SYSTEM = flags.DEFINE_string(
    "system", None, "System text; default: as trained, else the chat template's own (template).", flag_values=_FLAGS
)
_PROMPT_MODE = flags.DEFINE_enum(
    "prompt_mode",
    None,
    [form.name for form in FORMS.values()],
    "How to answer; default: as the policy was trained, else vanilla. drawing: over several turns, with what is drawn"
    " saved beside the conversation.",
    flag_values=_FLAGS,
)
_TOKENS = flags.DEFINE_integer(
    "max_new_tokens",
    None,
    f"Most tokens of an answer; default: as trained up to {MAX_TOKENS:,}, else {TOKENS}.",
    lower_bound=1,
    upper_bound=MAX_TOKENS,
    flag_values=_FLAGS,
)
_TEMPERATURE = flags.DEFINE_float("temperature", 0.0, "0 is greedy.", lower_bound=0.0, flag_values=_FLAGS)
_TOP_P = flags.DEFINE_float(
    "top_p", 1.0, "Nucleus, for a temperature above 0.", lower_bound=1e-6, upper_bound=1.0, flag_values=_FLAGS
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the draws.", flag_values=_FLAGS)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels",
    None,
    "Largest area of a picture as the model sees it; default: as trained, else 1,003,520.",
    lower_bound=784,
    flag_values=_FLAGS,
)
_FRAMES = flags.DEFINE_integer(
    "frames",
    None,
    "Evenly spaced frames of a video; default: as trained, else by the checkpoint's rate (16 where it draws).",
    lower_bound=2,
    flag_values=_FLAGS,
)
_DTYPE = flags.DEFINE_enum(
    "dtype", None, ["float32", "bfloat16"], "Default: bfloat16 on TPU and GPU, float32 on CPU.", flag_values=_FLAGS
)
_BOXES = flags.DEFINE_enum(
    "box_units",
    "auto",
    ["auto", "pixels", "thousandths"],
    "What boxes count: pixels of the resized picture (Qwen2.5-VL, "
    "and policies trained here), or thousandths of its sides (published Qwen2-VL and Qwen3-VL; auto picks by family).",
    flag_values=_FLAGS,
)
_OUT = flags.DEFINE_string(
    "out",
    None,
    "Where the picture with boxes goes; default: PICTURE.boxes.png in the current folder.",
    flag_values=_FLAGS,
)
_FLAGS.mark_as_parsed()
_HELP = "/image PATH and /video PATH show something with the next question, /reset forgets everything, /quit leaves"


@dataclasses.dataclass(frozen=True)
class Options:
    """How answers are drawn and shown; the flags of the same names say what each means."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    box_units: str = "auto"
    out: str | None = None
    fps: float | None = None


class Conversation:
    """Tokens so far, and what will be shown with the next question. Answers are kept by token id, never tokenised
    again. `asking`: how the policy is asked.
    """

    def __init__(self, processor: Processor, policy: Any, asking: Asking = UNKNOWN, options: Options = Options()):
        self.processor, self.policy, self.asking, self.options = processor, policy, asking, options
        engine = Engine(policy.graphdef, policy.config, pad_id=processor.pad_id)
        self.answerer = Answerer(engine, processor, drawing_asked(asking, max(engine.answer_buckets)))
        self.sampling = sampling_for(
            processor,
            max_new_tokens=min(asking.max_new_tokens or TOKENS, MAX_TOKENS),
            temperature=options.temperature,
            top_p=options.top_p,
            seed=options.seed,
        )
        self.asked = 0  # questions whose drawings were saved
        self.reset()

    def reset(self) -> None:
        self.stream = self.answerer.conversation(self.policy.params, self.sampling)
        self.prompt: EncodedPrompt | None = None
        self.answer: list[int] = []
        self.images: list[str] = []
        self.videos: list[str] = []
        self.first: tuple[str, tuple[int, int]] | None = (
            None  # the picture boxes are drawn into, and its size for the model
        )

    def ask(self, question: str) -> str:
        """Prints the answer as it comes and returns it. ValueError for a picture that cannot be read or a conversation
        that is too long.
        """
        if self.answerer.drawing is not None:
            return self._draw(question)
        system, hint = self.asking.system, instruction(self.asking.prompt_mode, "free")
        parts = [{"type": "image"} for _ in self.images] + [{"type": "video"} for _ in self.videos]
        turn: dict[str, Any] = {
            "role": "user",
            "content": [*parts, {"type": "text", "text": as_text(f"{question}\n{hint}" if hint else question)}],
        }
        if self.prompt is None:
            messages = [turn] if system is None else [{"role": "system", "content": system}, turn]
            prompt = shown = self.processor.encode(messages, self.images, self._clips())
            follows = None
        else:
            ended = bool(self.answer) and self.answer[-1] in self.processor.eos_ids
            text = self.processor.tokenizer.apply_chat_template([{"role": "system", "content": ""}, turn])
            text = ("<|im_end|>" if not ended else "") + "\n" + text[text.index("<|im_start|>user") :]
            shown = follows = self.processor.encode_text(
                text, self.images, self._clips(), start=self.prompt.next_position + len(self.answer)
            )
            prompt = self.prompt.followed_by(self.answer, shown)
        answer = list[int]()
        for heard in self._listen(prompt, follows=follows):
            answer = heard.tokens
        if self.images and self.first is None:
            self.first = (self.images[0], shown.model_sizes[0])
        self.prompt, self.answer, self.images, self.videos = prompt, answer, [], []
        return self.processor.decode(answer)

    def _listen(
        self, prompt: EncodedPrompt, pictures: Sequence[Any] = (), follows: EncodedPrompt | None = None
    ) -> Iterator[Heard]:
        """An answer as it comes, its words printed."""
        printed = ""
        for heard in self.answerer.stream(self.stream, prompt, pictures, follows):
            text = printable(heard.text)
            print(text[len(printed) :], end="", flush=True)
            printed = text if heard.shown is None else ""
            yield heard
        print()

    def _draw(self, question: str) -> str:
        """An answer over several turns, each picture saved as it is drawn; the pictures stay for the next question,
        which begins anew. ValueError without a picture, or for one that cannot be read.
        """
        form = get_form(self.asking.prompt_mode)
        pictures = [load_image(image) for image in self.images]
        for name, clip in zip(self.videos, self._clips()):
            shown = self._frames(clip)
            first = len(pictures) + 1
            pictures += [load_image(frame) for frame in shown.frames]
            print(
                f"[{name}: {len(shown)} of {shown.total or len(shown)} frames are pictures {first} to {len(pictures)}]",
                file=sys.stderr,
            )
        if not pictures:
            raise ValueError(f"{form.name} draws on pictures: show one first (--image, /image PATH)")
        sizes = [self.processor.model_size(*picture.size) for picture in pictures]
        system = form.system if self.asking.system is None else self.asking.system
        asked = f"{question}\n{instruction(form.name, 'free')}"
        messages = item_messages(as_text(asked), len(pictures), 0, system, sizes)
        prompt = self.processor.encode(messages, pictures)
        number, tokens = len(pictures), list[int]()
        self.asked += 1
        for heard in self._listen(prompt, pictures):
            tokens = heard.tokens
            for picture in heard.shown or ():
                number += 1
                out = Path(f"{self._stem()}.drawn{number}.png")
                picture.save(out)
                print(f"\n[picture {number} is in {out}]")
        return self.processor.decode(tokens)

    def _frames(self, clip: Any) -> Video:
        """The frames of a clip that are numbered pictures: as the policy was trained, else ViLaSR's 16."""
        settings = self.processor.video_settings
        if self.asking.frames is None and self.asking.fps is None:
            settings = with_frames(settings, DRAWN_FRAMES, None)
        video = as_video(clip, "video", settings=settings)
        return video if video.indices is not None else sample_video(video, settings)

    def _stem(self) -> str:
        """What drawn pictures are named after: each question of a conversation has its own."""
        if self.options.out:
            stem = str(Path(self.options.out).with_suffix(""))
        else:
            stem = Path((self.images or self.videos)[0]).stem
        return stem if self.asked == 1 else f"{stem}.question{self.asked}"

    def _clips(self) -> list[Any]:
        """The videos to show; a folder's rate is nowhere in its files, so it is told or said to be taken."""
        clips: list[Any] = []
        for video in self.videos:
            if not Path(video).is_dir():
                clips.append(video)
                continue
            clip = as_video(video, video, self.options.fps)
            if self.options.fps is None:
                print(
                    f"[{video}: {len(clip)} frames, taken as {DEFAULT_FPS:g} a second; --fps says otherwise]",
                    file=sys.stderr,
                )
            # A list of frames is shown whole by the checkpoint's own processor, where nobody says how many.
            if self.asking.frames is not None or self.asking.fps is not None:
                clip = sample_video(clip, self.processor.video_settings)
            clips.append(clip)
        return clips


def printable(text: str) -> str:
    """The text without control characters: a policy must not steer the terminal."""
    return "".join(c for c in text if c in "\n\t" or (c.isprintable() or c == "\ufffd"))


def draw_boxes(answer: str, picture: str, size: tuple[int, int], units: str) -> Image.Image | None:
    """A copy of the picture with the answer's boxes; None when it has none. `size`: (width, height) as the model saw
    it.
    """
    image = load_image(picture)
    whole = (1000, 1000) if units == "thousandths" else size
    scale = np.array([image.width / whole[0], image.height / whole[1]] * 2)
    boxes = [np.asarray(box) * scale for box, _, _ in find_boxes(answer)]
    boxes = [(*np.minimum(b[:2], b[2:]), *np.maximum(b[:2], b[2:])) for b in boxes]
    boxes = [b for b in boxes if b[2] > 0 and b[3] > 0 and b[0] < image.width and b[1] < image.height]
    canvas = ImageDraw.Draw(image)
    for number, box in enumerate(boxes, 1):
        color = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4")[(number - 1) % 6]
        canvas.rectangle([float(v) for v in box], outline=color, width=max(2, image.width // 250))
        if len(boxes) > 1:
            canvas.text((float(box[0]) + 4, float(box[1]) + 2), str(number), fill=color)
    return image if boxes else None


def answer(conversation: Conversation, question: str) -> bool:
    """Asks, and draws what comes back; False when the question could not be asked."""
    try:
        text = conversation.ask(question)
    except (ValueError, OSError) as error:
        shown = [*conversation.images, *conversation.videos]
        conversation.images, conversation.videos = [], []  # else every later question would fail on it again
        print(f"chat: {error}" + (f"; not shown: {', '.join(shown)}" if shown else ""), file=sys.stderr)
        return False
    if conversation.first is not None:
        picture, size = conversation.first
        units = conversation.options.box_units
        if units == "auto":
            units = conversation.policy.config.traits.box_units
        drawn = draw_boxes(text, picture, size, units)
        if drawn is not None:
            out = Path(conversation.options.out or Path(picture).stem + ".boxes.png")
            drawn.save(out)
            print(f"[boxes drawn in {out}]")
    return True


def talk(conversation: Conversation) -> None:
    """The interactive loop."""
    print(_HELP)
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        command, _, rest = line.partition(" ")
        if command in ("/quit", "/exit"):
            return
        if command == "/help":
            print(_HELP)
        elif command == "/reset":
            conversation.reset()
        elif command in ("/image", "/video") and rest.strip():
            (conversation.images if command == "/image" else conversation.videos).append(rest.strip())
        elif command.startswith("/"):
            print(f"chat: {command} is not a command; {_HELP}")
        elif line:
            answer(conversation, line)


def asked_as(folder: Path) -> Asking:
    """How the flags and the policy's training say to ask it, which is printed."""
    told = {
        "system": _SYSTEM.value,
        "prompt_mode": _PROMPT_MODE.value,
        "max_new_tokens": _TOKENS.value,
        "max_pixels": _MAX_PIXELS.value,
        "frames": _FRAMES.value,
    }
    asking, line = settle(folder, told)
    print(f"chat: {line}", file=sys.stderr)
    return asking


def main(argv: Sequence[str]) -> int:
    if len(argv) > 1:
        print(f"chat: unexpected argument {argv[1]!r}; put questions after --question", file=sys.stderr)
        return 2
    try:
        folder = checkpoint_directory(_MODEL.value)
        asking = asked_as(folder)
        processor = Processor.from_pretrained(
            folder,
            **asking.limits(),
            position_rule=asking.position_rule,
            frames=asking.frames,
            fps=asking.fps,
        )
        policy = load_pretrained(folder, _DTYPE.value or default_dtype(), position_rule=asking.position_rule)
    except (ValueError, OSError) as error:
        print(f"chat: {error}", file=sys.stderr)
        return 2
    options = Options(
        _TEMPERATURE.value, _TOP_P.value, _SEED.value, box_units=_BOXES.value, out=_OUT.value, fps=_FPS.value
    )
    conversation = Conversation(processor, policy, asking, options)
    conversation.images, conversation.videos = list(_IMAGE.value), list(_VIDEO.value)
    if _QUESTION.value is not None:
        return 0 if answer(conversation, _QUESTION.value) else 2
    talk(conversation)
    return 0


if __name__ == "__main__":
    flags.FLAGS.append_flag_values(_FLAGS)
    start(
        main,
        __doc__,
        values=_FLAGS,
        groups={
            "what is asked": "model image video fps question",
            "how it is asked": "system prompt_mode max_pixels frames",
            "how it answers": "max_new_tokens temperature top_p seed dtype",
            "boxes": "box_units out",
        },
    )
