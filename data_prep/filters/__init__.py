"""What is left out before annotation, and why: quality statistics, CLIP, near-duplicates, leakage, balance (Li 2025,
3.1.1).

Quality and CLIP judge a picture alone (stages); duplicates, leakage and balance look at all that are left
(selectors).
"""

from __future__ import annotations

from typing import Any

from data_prep.sources.base import SourceError

STAGES, SELECTORS = ("quality", "clip"), ("duplicates", "leakage", "balance")
FILTERS = STAGES + SELECTORS


def choose_filters(text: str) -> tuple[str, ...]:
    """The filters that a list with commas names, in the order they run. Raises SourceError."""
    names = [n.strip() for n in text.split(",") if n.strip()]
    for name in names:
        if name not in FILTERS:
            raise SourceError(f"--filters: no filter {name!r}: choose of {', '.join(FILTERS)}")
    return tuple(n for n in FILTERS if n in names)


def build_filters(names: tuple[str, ...], overrides: dict[str, dict[str, str]], running: dict[str, Any]) -> list[Any]:
    """The stages among `names`; `running`: device, precision and batch_size of those with a model. Raises
    SourceError.
    """
    from data_prep.annotate.settings import make
    from data_prep.filters.clip import ClipFilter, ClipSettings
    from data_prep.filters.quality import QualityFilter, QualitySettings

    kinds: dict[str, Any] = {"quality": (QualityFilter, QualitySettings), "clip": (ClipFilter, ClipSettings)}
    return [kinds[n][0](make(n, overrides.get(n, {}), kinds[n][1], **running)[0]) for n in names if n in kinds]


def build_selectors(names: tuple[str, ...], overrides: dict[str, dict[str, str]], running: dict[str, Any]) -> list[Any]:
    """The selectors among `names`. Raises SourceError."""
    from data_prep.annotate.settings import make
    from data_prep.filters.balance import Balance, BalanceSettings
    from data_prep.filters.duplicates import DuplicateSettings, Leakage, LeakageSettings, NearDuplicates

    kinds: dict[str, Any] = {
        "duplicates": (NearDuplicates, DuplicateSettings),
        "leakage": (Leakage, LeakageSettings),
        "balance": (Balance, BalanceSettings),
    }
    return [kinds[n][0](make(n, overrides.get(n, {}), kinds[n][1], **running)[0]) for n in names if n in kinds]
