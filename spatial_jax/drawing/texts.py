"""Texts of the drawing protocol (ViLaSR, arXiv 2506.09965): the system message, a picture's number, and the turn that
shows what was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from spatial_jax.drawing.tools import TOOLS

_BEGIN = """\
You solve spatial questions by looking at numbered pictures and drawing on them. Every reply is one of two things.

To draw, write your thought, the name of the tool, and a fenced JSON list:
"""
_CALL = """\
<think> what you want to find out </think> Action: {action}
```json
[{example}]
```
"""
_END = """\
"index" is the number of the picture to \
draw on; a copy with your drawing comes back under the next number. A label that is drawn \
again replaces its earlier drawing.

To end, write your thought and the answer:
<think> what you conclude </think> Action: Answer
<answer> the answer </answer>

Coordinates are pixels of the picture: (0, 0) is its upper left corner, (width, height) its lower right. \
Look at every drawing that comes back; where it is misplaced, draw it again before you go on."""


def system_text(tools: Sequence[str]) -> str:
    """The system message of the protocol with these tools."""
    offered = [TOOLS[name] for name in tools]
    calls = "or\n".join(_CALL.format(action=tool.action, example=tool.example) for tool in offered)
    return f"{_BEGIN}{calls}{', '.join(tool.does for tool in offered)}. {_END}"


VISION = "<|vision_start|><|image_pad|><|vision_end|>"
GO_ON = "Go on thinking, and check what was drawn."
ANSWER_NOW = "No more drawing is possible. Conclude and answer now."


def index_line(number: int, size: tuple[int, int]) -> str:
    """Said after picture `number` (from 1) of (width, height) pixels."""
    return f"\nThe index of the given image is {number} (width: {size[0]}, height: {size[1]}).\n"


def shown_turn(first: int, sizes: Sequence[tuple[int, int]], last: bool) -> str:
    """Chat markup after a policy's closed turn: a user's turn with the new pictures, numbered from `first`, and the
    next turn's opening. `last`: the policy must answer in it.
    """
    pictures = "".join(VISION + index_line(first + i, size) for i, size in enumerate(sizes))
    return f"\n<|im_start|>user\n{pictures}{ANSWER_NOW if last else GO_ON}<|im_end|>\n<|im_start|>assistant\n"
