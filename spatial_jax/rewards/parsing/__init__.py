"""Reading answers out of text, apart from scoring them. Every function is pure, total and linear in the text's length:
no text takes more than about a millisecond a kilobyte.

The grammar, one for every reader of choices, numbers and words, stands in docs/answers.md: clean, take the scope, read
it whole, else its last announcement to the end of the sentence, else the head or the only mention; what is denied is
not mentioned, and different answers side by side are none.
"""

from spatial_jax.rewards.parsing.boxes import find_boxes, parse_box
from spatial_jax.rewards.parsing.choices import option_labels, parse_choice, truth_index
from spatial_jax.rewards.parsing.numbers import find_quantities, first_number, parse_number, parse_quantity
from spatial_jax.rewards.parsing.orders import parse_order, truth_order
from spatial_jax.rewards.parsing.text import clean, fold
from spatial_jax.rewards.parsing.words import matches_word

__all__ = [
    "clean",
    "find_boxes",
    "find_quantities",
    "first_number",
    "fold",
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
