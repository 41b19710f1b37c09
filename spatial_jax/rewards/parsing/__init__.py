"""Reading answers out of text, apart from scoring them. Every function is pure, total and linear in the text's length:
no text takes more than about a millisecond a kilobyte.

The grammar, one for every reader of choices, numbers and words (`tests/rewards/answers.jsonl` has several hundred
answers in eight languages with their readings):

1. Cleaning. The last 8,192 characters count, in one spelling of dashes, quotes and digits (`clean`).
2. Scope (`answer_scope`). The content of the <answer> block; else of the last \\boxed{}; else what follows the last
   </think>; else the whole text. Blocks that differ, and two boxes joined by "or", hold no answer. Markdown emphasis
   and LaTeX commands are taken off (`plain`); a repeated list of the question's options is cut out.
3. The whole scope, if it is an answer: "B", "(b)", "B. chair", "chair", "chair (B)"; "3 m"; "left".
4. Else the last announcement ("the answer is", "I choose", "B is correct", "Answer:", and their like in Chinese,
   Japanese, Korean, Spanish, German, French and Russian), read to the end of its sentence; a number after its last
   "=". An announcement that names none of the options and gives no number leaves the word to the one before it.
5. Else, for choices: lines that are an answer on their own; a label or an option's text at the head ("B because ...",
   "The chair, since ..."); the only letter or option text mentioned. For numbers: the last one. For words: the only
   word of the vocabulary, in a sentence of at most 40 words.
6. What is denied ("not B", "rather than the lamp", "instead of 3 m") is not mentioned. Different answers side by side
   ("A or B", "3 or 4", every option, lines that disagree) are no answer. Where options name the letters as objects ("A
   is closer"), a letter inside a sentence is a name, and the statement counts.
7. Numbers. Digits with thousands, decimals (a comma before a unit, "2,5 m"), exponents, fractions, compounds (5 ft 3
   in), or, where there are no digits, number words of English, Chinese, Spanish, German and French; the unit is
   converted, a unit of another kind is no answer, no unit is the unit asked for. Values are exact fractions. A range
   ("2-3 m", "between 2 and 3") is no answer to the rewards; `parse_number(ranges=True)` gives its middle.
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
