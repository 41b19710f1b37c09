"""Yes or no out of a response: VLMEvalKit's, MME's and POPE's rules."""

from __future__ import annotations

from spatial_jax.evals.short_answers import without_punctuation


def yes_or_no_word(response: str) -> str | None:
    """VLMEvalKit: "yes" a word and "no" none, or the reverse; None for both or neither."""
    words = without_punctuation(response.lower()).split()
    yes, no = "yes" in words, "no" in words
    return None if yes == no else "yes" if yes else "no"


def leading(response: str) -> str | None:
    """MME: "yes", then "no", among the first four characters ("not", "none" and "know" are no)."""
    text = response.lower()[:4]
    return "yes" if "yes" in text else "no" if "no" in text else None


def leading_lmms(response: str) -> str | None:
    """MME in lmms-eval: stripped, without dots; a single y or n counts."""
    text = response.lower().strip().replace(".", "")
    return {"y": "yes", "n": "no"}.get(text) or leading(text)


def first_sentence(response: str) -> str:
    """POPE's own: "No", "not" or "no" a word before the first dot is no, everything else is yes."""
    words = response.split(".")[0].replace(",", "").split(" ")
    return "no" if any(word in words for word in ("No", "not", "no")) else "yes"


def exact(response: str) -> str | None:
    """lmms-eval's POPE: the whole text, in any case."""
    text = response.lower().strip()
    return text if text in ("yes", "no") else None
