"""What is read out of text: numbers, choices, boxes, orders, words, tags. Tables of cases, then properties."""

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spatial_jax.blocks import assistant_turns, block, last_boxed
from spatial_jax.forms import extract_answer, matches_format
from spatial_jax.rewards.parsing import (
    clean,
    first_number,
    matches_word,
    parse_box,
    parse_choice,
    parse_number,
    parse_order,
    truth_index,
    truth_order,
)

NUMBERS = [
    # plain, signs, decimals, thousands, exponents
    ("3", "", "3"),
    (" 3. ", "", "3"),
    ("-3", "", "-3"),
    ("+3", "", "3"),
    ("\u22123.5", "", "-3.5"),
    (".5", "", "0.5"),
    ("-.5", "", "-0.5"),
    ("0", "", "0"),
    ("1,200", "", "1200"),
    ("1,234,567.5", "", "1234567.5"),
    ("1\u202f200", "", "1200"),
    ("1.2e3", "", "1200"),
    ("1E-2", "", "0.01"),
    ("1.2 \u00d7 10^3", "", "1200"),
    ("1.2\u00d710\u00b3", "", "1200"),
    ("3 * 10^-2", "", "0.03"),
    # other scripts, fractions, words
    ("\uff15", "", "5"),
    ("\u0663", "", "3"),
    ("1/2", "", "1/2"),
    ("2 1/2", "", "5/2"),
    ("\u00bd m", "m", "1/2"),
    ("2\u00bd m", "m", "5/2"),
    ("three", "", "3"),
    ("Twenty-one", "", "21"),
    ("two hundred and five", "", "205"),
    ("three thousand four hundred", "", "3400"),
    ("a dozen", "", "12"),
    ("one and a half meters", "m", "1.5"),
    ("two point five m", "m", "2.5"),
    ("minus three", "", "-3"),
    ("zero", "", "0"),
    # units
    ("3 m", "m", "3"),
    ("3m", "m", "3"),
    ("3.5 metres", "m", "3.5"),
    ("300 cm", "m", "3"),
    ("3000 mm", "m", "3"),
    ("3 m", "cm", "300"),
    ("10 ft", "m", "3.048"),
    ("5 ft 3 in", "m", "1.6002"),
    ("5'3\"", "m", "1.6002"),
    ("5\u2032 3\u2033", "m", "1.6002"),
    ("6 feet and 2 inches", "cm", "187.96"),
    ("1 m 20 cm", "m", "1.2"),
    ("12 inches", "cm", "30.48"),
    ('3"', "cm", "7.62"),
    ("12 m\u00b2", "m2", "12"),
    ("12 m^2", "m2", "12"),
    ("12 square meters", "m2", "12"),
    ("100 sq ft", "m2", "9.290304"),
    ("90\u00b0", "deg", "90"),
    ("40 px", "px", "40"),
    ("3-meter", "m", "3"),
    ("3\u7c73", "m", "3"),
    ("3 in the room", "", "3"),
    ('"3"', "", "3"),
    # ranges and tolerances
    ("2-3 m", "m", "2.5"),
    ("2\u20133 m", "m", "2.5"),
    ("2 to 3 meters", "m", "2.5"),
    ("between 2 and 3 m", "m", "2.5"),
    ("3 \u00b1 0.5 m", "m", "3"),
    # several numbers: a cue, else the last
    ("The answer is 5.", "", "5"),
    ("Answer: 3, because I see 2 more", "", "3"),
    ("I count 3 and then 2 more, so 5 in total", "", "5"),
    ("2 m (200 cm)", "m", "2"),
    ("fx = 525.0, so the depth is 2.4 m", "m", "2.4"),
    ("**4**", "", "4"),
    ("\\boxed{4}", "", "4"),
    ("$4$", "", "4"),
    # not numbers, or not one
    ("", "", None),
    ("none", "", None),
    ("NaN", "", None),
    ("inf", "", None),
    ("-", "", None),
    ("1e999", "", None),
    ("9" * 100, "", None),
    ("1/0", "", None),
    ("3rd", "", None),
    ("2D", "", None),
    ("object_3", "", None),
    ("3 or 4", "", None),
    ("3 chairs or 4 chairs", "", None),
    ("1 2 3 4", "", None),
    ("1, 2, 3", "", None),
    ("The answer is 3 or 4", "", None),
    ("3 m", "", None),
    ("3 kg", "m", "3"),
    ("3 m2", "m", None),
    ("3 px", "m", None),
    ("1 200", "", None),
]


@pytest.mark.parametrize("text, unit, expected", NUMBERS)
def test_numbers(text, unit, expected):
    assert parse_number(text, unit) == (None if expected is None else Fraction(expected))


def test_a_range_is_no_exact_number():
    assert parse_number("2-3", ranges=False) is None
    with pytest.raises(ValueError, match="unit 'furlong' is unknown"):
        parse_number("3", "furlong")


@pytest.mark.parametrize(
    "text, expected", [("about 1,200 cm", "1"), ("-2.5 m", "-2.5"), ("x", None), ("1e3", "1"), ("a1b2", "1")]
)
def test_first_number_as_vilasr_reads_it(text, expected):
    assert first_number(text) == (None if expected is None else Fraction(expected))


OPTIONS = ("chair", "table", "lamp", "sofa bed")
CHOICES = [
    ("B", 1),
    ("b", 1),
    ("(B)", 1),
    ("B.", 1),
    ("B)", 1),
    ("**B**", 1),
    ("Option B", 1),
    ("B. table", 1),
    ("B: table", 1),
    ("(B) table", 1),
    ("table", 1),
    ("The table.", 1),
    ("TABLE", 1),
    ("The answer is B", 1),
    ("Answer: (B)", 1),
    ("The correct answer is (C) lamp.", 2),
    ("the answer is the lamp", 2),
    ("\\boxed{B}", 1),
    ("$\\boxed{\\text{B}}$", 1),
    ("A chair", 0),
    ("sofa bed", 3),
    ("It is the sofa bed.", 3),
    ("The answer is B, not A.", 1),
    ("A is closer, so the answer is B.", 1),
    ("I would say C", 2),
    ("\uff22", 1),
    ("A chair is seen. The answer is B because it is near.", 1),
    ("", None),
    ("E", None),
    ("A or B", None),
    ("The answer is A or B", None),
    ("A B C D", None),
    ("A, B, C, D", None),
    ("chair, table, lamp, sofa bed", None),
    ("B) lamp", None),
    ("not B", None),
    ("It isn't the table", None),
    ("the tablecloth", None),
    ("chairs", None),
    ("Which? A. chair B. table C. lamp D. sofa bed", None),
]


@pytest.mark.parametrize("text, expected", CHOICES)
def test_choices(text, expected):
    assert parse_choice(text, OPTIONS) == expected


def test_an_option_inside_a_longer_one_and_numbers_as_options():
    assert parse_choice("the left side", ("left", "left side")) == 1
    assert parse_choice("3", ("2", "3", "4")) == 1
    assert parse_choice("It is 3.", ("2", "3", "13")) == 1
    assert parse_choice("B", ("A. 2", "B. 3")) == 1
    assert parse_choice("3", ("(A) 2", "(B) 3")) == 1


@pytest.mark.parametrize("answer, expected", [("B", 1), ("table", 1), ("B. table", 1), ("(b)", 1)])
def test_truth_of_a_choice(answer, expected):
    assert truth_index(answer, OPTIONS) == expected
    with pytest.raises(ValueError, match="not one of the options"):
        truth_index("desk", OPTIONS)


BOXES = [
    ("[1, 2, 30, 40]", (1, 2, 30, 40)),
    ("(1,2,30,40)", (1, 2, 30, 40)),
    ("(1, 2), (30, 40)", (1, 2, 30, 40)),
    ("[[1, 2], [30, 40]]", (1, 2, 30, 40)),
    ('{"bbox_2d": [1, 2, 30.5, 40]}', (1, 2, 30.5, 40)),
    ("1, 2, 30, 40", (1, 2, 30, 40)),
    ("The box is at [1, 2, 30, 40].", (1, 2, 30, 40)),
    ("first [0, 0, 5, 5] looked wrong; the answer is [1, 2, 30, 40]", (1, 2, 30, 40)),
    ("[-1, 2, 30, 40]", (-1, 2, 30, 40)),
    ("", None),
    ("[1, 2, 3]", None),
    ("[1, 2, 3, 4, 5]", None),
    ("[0, 0, 5, 5], [1, 2, 30, 40]", None),
    ("[0, 0, 5, 5] or [1, 2, 30, 40]", None),
    ("[a, b, c, d]", None),
    ("[[1, 2, 3, 4], [1, 2, 3, 4]]", (1, 2, 3, 4)),
    ("[1e3, 2, 3, 4]", None),
]


@pytest.mark.parametrize("text, expected", BOXES)
def test_boxes(text, expected):
    assert parse_box(text) == expected


ORDERS = [
    ("3-1-2", "3-1-2", ("3", "1", "2")),
    ("3 - 1 - 2", "3-1-2", ("3", "1", "2")),
    ("3, 1, 2", "3-1-2", ("3", "1", "2")),
    ("3 > 1 > 2", "3-1-2", ("3", "1", "2")),
    ("The order is 3\u20131\u20132.", "3-1-2", ("3", "1", "2")),
    ("3\u21921\u21922", "3-1-2", ("3", "1", "2")),
    ("2-1-3", "3-1-2", ("2", "1", "3")),
    ("3-1-2; 1-2-3", "3-1-2", None),
    ("312", "3-1-2", None),
    ("3-1", "3-1-2", None),
    ("", "3-1-2", None),
    ("lamp, chair, table", "lamp, chair, table", ("lamp", "chair", "table")),
    ("Lamp > chair > table", "lamp, chair, table", ("lamp", "chair", "table")),
    ("1. lamp\n2. chair\n3. table", "lamp, chair, table", ("lamp", "chair", "table")),
    ("the lamp, then the chair, then the table", "lamp, chair, table", ("lamp", "chair", "table")),
    ("The chair is near. The answer is: lamp, chair, table", "lamp, chair, table", ("lamp", "chair", "table")),
    ("lamp, chair", "lamp, chair, table", None),
    ("lamp, chair, table, lamp", "lamp, chair, table", None),
    ("red chair, chair", "chair, red chair", ("red chair", "chair")),
]


@pytest.mark.parametrize("text, truth, expected", ORDERS)
def test_orders(text, truth, expected):
    assert parse_order(text, truth_order(truth)) == expected


def test_truth_of_an_order_is_checked():
    for bad in ("", "3", "3-3-1", "lamp, Lamp"):
        with pytest.raises(ValueError, match="not an order"):
            truth_order(bad)


@pytest.mark.parametrize(
    "text, accepted, vocabulary, expected",
    [
        ("left", ["left"], (), True),
        ("Left.", ["left"], (), True),
        ("to the left", ["left"], (), True),
        ("the answer is left", ["left"], (), True),
        ("upper-left", ["upper left"], (), True),
        ("It is on the left side of it.", ["left"], (), True),
        ("not left", ["left"], (), False),
        ("left or right", ["left"], (), False),
        ("left right up down", ["left"], (), False),
        ("right", ["left"], (), False),
        ("", ["left"], (), False),
        ("the sofa", ["sofa", "couch"], (), True),
        ("couch", ["sofa", "couch"], (), True),
        ("sofa bed", ["sofa"], (), False),
        ("I think the sofa is closest", ["sofa"], (), False),
        ("I think the sofa is closest", ["sofa"], ("lamp", "table"), True),
        ("sofa, lamp", ["sofa"], ("lamp", "table"), False),
        ("lower left", ["left"], (), False),
    ],
)
def test_words(text, accepted, vocabulary, expected):
    assert matches_word(text, accepted, vocabulary) is expected


FORMATS = [
    ("answer_tag", "<answer>B</answer>", True),
    ("answer_tag", " <answer>B</answer>\n", True),
    ("answer_tag", "<answer>B</answer><|im_end|>", True),
    ("answer_tag", "<answer></answer>", False),
    ("answer_tag", "<answer>...</answer>", False),
    ("answer_tag", "x <answer>B</answer>", False),
    ("answer_tag", "<answer>B</answer> x", False),
    ("answer_tag", "<answer>B</answer><answer>B</answer>", False),
    ("answer_tag", "<answer>B", False),
    ("answer_tag", "<think>x</think><answer>B</answer>", False),
    ("answer_tag", "B", False),
    ("answer_tag", "", False),
    ("think_answer", "<think>I look.</think>\n<answer>B</answer>", True),
    ("think_answer", "<think></think><answer>B</answer>", False),
    ("think_answer", "<think> . </think><answer>B</answer>", False),
    ("think_answer", "<answer>B</answer><think>x</think>", False),
    ("think_answer", "<think>x</think> so <answer>B</answer>", False),
    ("think_answer", "<think><think>x</think></think><answer>B</answer>", False),
    ("think_answer", "<think>x <answer>B</answer></think>", False),
    ("think_answer", "<think>x<pad>y</pad></think><answer>B</answer>", False),
    ("think_answer", "<think>x</think><observe>y</observe><answer>B</answer>", False),
    ("think_answer", "<think>x</answer><answer>B</think>", False),
    ("observe_answer", "<observe>a room</observe><answer>B</answer>", True),
    ("observe_answer", "<think>x</think><answer>B</answer>", False),
    ("think_boxed", "<think>x</think> \\boxed{B}", True),
    ("think_boxed", "<think>x</think>\n$\\boxed{B}$.", True),
    ("think_boxed", "<think>x</think> \\boxed{}", False),
    ("think_boxed", "<think>x</think> \\boxed{A} \\boxed{B}", False),
    ("think_boxed", "<think>x</think> The answer: \\boxed{B}", False),
    ("think_boxed", "<think>\\boxed{B}</think>", False),
    ("think_boxed", "\\boxed{B}", False),
    ("think_boxed", "<think>x</think> \\boxed{B", False),
    ("none", "B", True),
    ("none", " ", False),
]


@pytest.mark.parametrize("name, text, expected", FORMATS)
def test_formats(name, text, expected):
    assert matches_format(text, name) is expected


def test_tags_boxes_and_turns():
    assert last_boxed("\\boxed{a} \\boxed{\\frac{1}{2}}") == "\\frac{1}{2}" and last_boxed("\\boxed{a") is None
    assert last_boxed("\\boxed{\\boxed{B}}") == "B"
    assert block("<answer>a</answer><answer>b</answer>", "answer") is None
    assert extract_answer("<answer>a</answer>", "answer_tag") == "a" and extract_answer("a", "answer_tag") is None
    assert extract_answer("<think></think><answer></answer>", "none") is None
    assert assistant_turns("a<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\nb<|im_end|>") == [
        "a",
        "b",
    ]
    with pytest.raises(ValueError, match="format 'html' is unknown"):
        matches_format("x", "html")


@given(
    st.decimals(min_value=-(10**6), max_value=10**6, places=3, allow_nan=False), st.sampled_from(["", "m", "cm", "ft"])
)
def test_every_decimal_is_read_exactly(value, unit):
    assert parse_number(f"The answer is {value:f} {unit}".strip(), unit) == Fraction(str(value))
    assert parse_number(f"{value:,f}") == Fraction(str(value))


@given(st.integers(0, 999), st.integers(0, 11))
def test_feet_and_inches(feet, inches):
    assert parse_number(f"{feet} ft {inches} in", "in") == 12 * feet + inches


@given(st.integers(0, 999_999))
def test_number_words(n):
    ones = (  # noqa: SIM905
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen"
    ).split()
    tens = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

    def words(k):
        if k < 20:
            return ones[k]
        if k < 100:
            return tens[k // 10] + ("-" + ones[k % 10] if k % 10 else "")
        if k < 1000:
            return ones[k // 100] + " hundred" + (" and " + words(k % 100) if k % 100 else "")
        return words(k // 1000) + " thousand" + (" " + words(k % 1000) if k % 1000 else "")

    assert parse_number(words(n)) == n


@given(st.tuples(*[st.integers(-99, 2000)] * 4))
def test_every_box_is_read_back(box):
    assert parse_box(str(list(box))) == box


@given(st.permutations(["1", "2", "3", "4", "5"]))
def test_every_order_is_read_back(order):
    assert parse_order("-".join(order), truth_order("1-2-3-4-5")) == tuple(order)


@settings(max_examples=150)
@given(st.text(max_size=200))
def test_nothing_raises_on_any_text(text):
    clean(text)
    parse_number(text, "m")
    parse_choice(text, OPTIONS)
    parse_box(text)
    parse_order(text, ("1", "2", "3"))
    parse_order(text, ("lamp", "chair"))
    matches_word(text, ["left"], ["lamp"])
    for name in ("none", "answer_tag", "think_answer", "observe_answer", "think_boxed"):
        assert isinstance(matches_format(text, name), bool)
        extract_answer(text, name)


@settings(max_examples=100)
@given(st.text(alphabet="0123456789.,-–/eE+' \"mftincABCD()[]<>{}\\\n½²×10^~±", max_size=80))
def test_nothing_raises_on_hard_characters(text):
    parse_number(text, "m")
    parse_choice(text, OPTIONS)
    parse_box(text)


@pytest.mark.parametrize(
    "piece",
    [
        " ",
        "\n",
        "9",
        "1,",
        "1-2-",
        "A ",
        "<think>",
        "\\boxed{",
        "{",
        "}",
        "((1,2",
        "'",
        "five ",
        "not ",
        "answer is ",
        "\u00bd",
        "```json\n",
        "<|im_end|>",
        "<|im_start|>assistant",
        "-",
        "</think>",
    ],
)
def test_megabytes_take_linear_time(piece):
    text = piece * (1_000_000 // len(piece))
    began = time.process_time()
    parse_number(text, "m")
    parse_choice(text, OPTIONS)
    parse_box(text)
    parse_order(text, ("1", "2", "3"))
    matches_word(text, ["left"])
    for name in ("answer_tag", "think_answer", "think_boxed"):
        matches_format(text, name)
        extract_answer(text, name)
    assert time.process_time() - began < 3.0
