"""Few static lengths for token rows and patch packs, so that the number of compiled programs stays bounded."""

from __future__ import annotations

from collections.abc import Sequence

PROMPT_BUCKETS = (128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
ANSWER_BUCKETS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
# Of what is shown between two turns.
SHOWN_BUCKETS = (32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
PATCH_BUCKETS = (
    256,
    512,
    1024,
    1536,
    2048,
    3072,
    4096,
    6144,
    8192,
    12288,
    16384,
    24576,
    32768,
    49152,
    65536,
    98304,
    131072,
    196608,
    262144,
    393216,
    524288,
    786432,
    1048576,
    1572864,
    2097152,
    3145728,
    4194304,
    6291456,
    8388608,
)


def choose_bucket(n: int, buckets: Sequence[int], what: str = "length") -> int:
    """The smallest bucket that holds `n`. Raises ValueError naming `what` when none does."""
    fitting = [bucket for bucket in buckets if bucket >= n]
    if not fitting:
        raise ValueError(
            f"{what} {n} is above the largest bucket {max(buckets)}; raise the bucket list, or lower max_pixels"
            " (of a video: video_max_pixels, or its frames)"
        )
    return min(fitting)
