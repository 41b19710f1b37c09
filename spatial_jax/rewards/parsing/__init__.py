"""Reading answers out of text, apart from scoring them. Every function is pure, total and linear in the text's
length.
"""

from spatial_jax.rewards.parsing.boxes import find_boxes, parse_box
from spatial_jax.rewards.parsing.choices import option_labels, parse_choice, truth_index
from spatial_jax.rewards.parsing.numbers import find_quantities, first_number, parse_number, parse_quantity
from spatial_jax.rewards.parsing.orders import parse_order, truth_order
from spatial_jax.rewards.parsing.tags import FORMATS, assistant_turns, block, extract_answer, last_boxed, matches_format
from spatial_jax.rewards.parsing.text import clean, fold
from spatial_jax.rewards.parsing.words import matches_word

__all__ = [
    "FORMATS",
    "assistant_turns",
    "block",
    "clean",
    "extract_answer",
    "find_boxes",
    "find_quantities",
    "first_number",
    "fold",
    "last_boxed",
    "matches_format",
    "matches_word",
    "option_labels",
    "parse_box",
    "parse_choice",
    "parse_number",
    "parse_order",
    "parse_quantity",
    "truth_index",
    "truth_order",
]
