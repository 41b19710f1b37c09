"""Tokens for the phrases of demonstrations: shorter turns, the same policy."""

import json

import numpy as np
import pytest
from transformers import AutoTokenizer

from spatial_jax import convert
from spatial_jax.data import phrases
from spatial_jax.data.records import QuestionRecord
from spatial_jax.data.sampled import first_reply_ids
from spatial_jax.models import load_pretrained
from spatial_jax.processing import Processor

SHIPPED = "configs/quickstart_policy"
CALL = '```json\n[{{"index": 1, "bbox_2d": {1}, "label": "{0}"}}]\n```'
TURN = f"<think> I box the {{0}}. </think> Action: Object Mapper\n{CALL}"


def record(name, box, answer):
    meta = json.dumps({"turns": [TURN.format(name, box)]})
    question = f"Is the {name} left or right of the blue box?"
    return QuestionRecord("q", "s", "train", "scene", (b"",), (112,), (112,), question, "word", answer, meta=meta)


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    """Folders of the shipped policy and of the one with phrases."""
    asked = [("red ball", "left"), ("red cone", "left"), ("green cone", "right"), ("green ball", "right")]
    records = [record(name, [7 + i, 20, 30, 44], answer) for i, (name, answer) in enumerate(asked)]
    out = str(tmp_path_factory.mktemp("policy"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phrases, "_records", lambda directories: records)
        assert convert.main([f"--from={SHIPPED}", f"--to_hf={out}", "--phrases=questions"]) == 0
    return SHIPPED, out


def test_phrases_hold_no_name_and_no_number(policies):
    before, after = (Processor.from_pretrained(folder).tokenizer for folder in policies)
    new = [after.decode([i]) for i in range(len(before), len(after))]
    assert ', "bbox_2d": [' in new and "<think> I box the" in new
    assert not {"user\n", "assistant\n"} & set(new)  # a policy has read every prompt with its own tokens for these
    assert not [p for p in new if "ball" in p or "cone" in p or any(c.isdigit() for c in p.replace("bbox_2d", ""))]
    turn = TURN.format("red ball", [10, 20, 30, 44])
    short, long = after.encode_text(turn), before.encode_text(turn)
    assert len(short) < 26 and len(long) > 90 and after.decode(short) == before.decode(long) == turn
    assert after.encode_text("Is the red ball left?") == before.encode_text("Is the red ball left?")


def test_a_name_with_a_sign_before_it_begins_where_the_name_is(policies):
    tokenizer, policy = Processor.from_pretrained(policies[1]).tokenizer, load_pretrained(policies[1])
    table = np.asarray(policy.params["text"]["embed"]["embedding"][...])
    (signed,), (name,), (other,) = (tokenizer.encode_text(text) for text in ('"red', " red", " green"))
    assert np.corrcoef(table[signed], table[name])[0, 1] > 0.6 > np.corrcoef(table[signed], table[other])[0, 1]


def test_transformers_reads_the_same_ids(policies):
    theirs = AutoTokenizer.from_pretrained(policies[1])
    ours = Processor.from_pretrained(policies[1]).tokenizer
    turn = TURN.format("green cone", [1, 2, 3, 4])
    assert theirs(turn).input_ids == ours.encode_text(turn) and len(theirs) == len(ours)


def test_the_policy_says_what_it_said(policies):
    before, after = (load_pretrained(folder) for folder in policies)
    tokenizer = Processor.from_pretrained(policies[0]).tokenizer
    ids = np.asarray([tokenizer.encode_text("Is the red ball left or right of the blue box?")])
    old, new = before.logits(ids), after.logits(ids)
    np.testing.assert_allclose(new[..., : old.shape[-1]], old, atol=1e-5)
    assert new.shape[-1] == len(Processor.from_pretrained(policies[1]).tokenizer)


def test_phrases_that_are_tokens_already_are_refused(policies, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(phrases, "_records", lambda directories: [])
    assert convert.main([f"--from={SHIPPED}", f"--to_hf={tmp_path / 'p'}", "--phrases=none"]) == 2
    assert "every phrase of its demonstrations is a token already" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        convert.main(["--fresh=tiny", f"--out={tmp_path / 'p'}", "--phrases=none"])


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    """Folder of the shipped policy with tokens for pixels."""
    out = str(tmp_path_factory.mktemp("pixels"))
    assert convert.main([f"--from={SHIPPED}", f"--to_hf={out}", "--coordinates=112"]) == 0
    return out


def test_a_box_is_a_token_a_side(pixels):
    before, after = (Processor.from_pretrained(folder).tokenizer for folder in (SHIPPED, pixels))
    ids = after.encode_text("[12, 3, 112, 90]")
    assert [after.decode([i]) for i in ids] == ["[12", ", 3", ", 112", ", 90", "]"]
    assert AutoTokenizer.from_pretrained(pixels)("[12, 3, 112, 90]").input_ids == ids
    for text in ("There are 12.", "Is the red ball left?", "3.5 m, red"):
        assert after.encode_text(text) == before.encode_text(text)
    # Near pixels begin alike, far ones do not; what the policy knew is as it was.
    old, new = (
        np.asarray(load_pretrained(folder).params["text"]["embed"]["embedding"][...]) for folder in (SHIPPED, pixels)
    )
    np.testing.assert_array_equal(new[: len(old)], old)
    rows = np.stack([new[after.token_id(f", {n}")] for n in range(113)])
    alike = np.corrcoef(rows)
    assert np.diagonal(alike, 1).min() > 0.9 and abs(np.diagonal(alike, 40)).mean() < 0.5


def test_coordinates_are_added_once_and_phrases_leave_them_whole(pixels, capsys, monkeypatch, tmp_path):
    assert convert.main([f"--from={pixels}", f"--to_hf={tmp_path / 'p'}", "--coordinates=50"]) == 2
    assert "has tokens for coordinates already" in capsys.readouterr().err
    records = [record(name, box, "left") for name, box in (("red ball", [10, 20, 30, 44]), ("blue box", [1, 2, 3, 4]))]
    monkeypatch.setattr(phrases, "_records", lambda directories: records)
    assert convert.main([f"--from={pixels}", f"--to_hf={tmp_path / 'p'}", "--phrases=questions"]) == 0
    tokenizer = Processor.from_pretrained(tmp_path / "p").tokenizer
    said = [tokenizer.decode([i]) for i in tokenizer.encode_text(TURN.format("red ball", [10, 20, 30, 44]))]
    assert ', "bbox_2d": ' in said and {"[10", ", 20", ", 30", ", 44"} <= set(said)
    for wrong in ("--coordinates=-1", "--coordinates=99999"):
        with pytest.raises(SystemExit):
            convert.main([f"--from={SHIPPED}", f"--to_hf={tmp_path / 'q'}", wrong])


def test_a_demonstration_teaches_its_first_turn_in_a_form_that_draws_and_the_answer_in_others():
    processor, asked = Processor.from_pretrained(SHIPPED), record("red ball", [10, 20, 30, 44], "left")
    for mode, first in (("drawing", TURN.format("red ball", [10, 20, 30, 44])), ("bare", " left")):
        ids = first_reply_ids(asked, [(112, 112)], processor, mode)
        assert processor.decode(ids[:-1]) == first and ids[-1] in processor.eos_ids


def test_questions_own_phrases_are_tokens_and_other_words_stay(pixels, monkeypatch, tmp_path):
    def asked(question, answer):
        return QuestionRecord("q", "s", "train", "scene", (b"",), (112,), (112,), question, "word", answer)

    records = [
        asked(f"At 1 facing {way}, 2 is left or back?", said) for way in ("us", "away") for said in ("back", "left")
    ]
    monkeypatch.setattr(phrases, "_records", lambda directories: [*records, asked("Order of 1, 2?", "2-1")] * 3)
    assert convert.main([f"--from={pixels}", f"--to_hf={tmp_path / 'p'}", "--phrases=questions", "--asked"]) == 0
    before, after = (Processor.from_pretrained(folder).tokenizer for folder in (pixels, tmp_path / "p"))
    new = {after.decode([i]) for i in range(len(before), len(after))}
    assert {"facing us", "facing away", "is left or back?", "back"} <= new and "left" not in new
    assert not [phrase for phrase in new if any(c.isdigit() for c in phrase)]
    said = "At 2 facing away, 1 is left or back?"
    assert (
        len(after.encode_text(said)) < len(before.encode_text(said)) / 2
        and after.decode(after.encode_text(said)) == said
    )
    assert after.encode_text("Is the red ball left?") == before.encode_text("Is the red ball left?")
