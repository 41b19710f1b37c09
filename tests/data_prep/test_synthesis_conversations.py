"""LLaMA-Factory's two forms: each reply is learned word for word behind the turns, system and pictures before it."""

import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from data_prep.synthesis.importers import BadRow, Import, import_records
from data_prep.synthesize import main as synthesize
from spatial_jax.data.prompts import PromptStyle, build_messages, target_text
from spatial_jax.data.records import check_record, question_features, to_example

BOXED = "<think>The left edge goes on in patch 2.</think>\n\\boxed{2-0-1}"
TRAILER = " Think inside <think></think>, then put the answer in \\boxed{}."


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pics").mkdir()
    for i in range(6):
        out = io.BytesIO()
        Image.new("RGB", (40 + i, 30), (40 * i, 90, 10)).save(out, "PNG")
        (tmp_path / "pics" / f"{i}.png").write_bytes(out.getvalue())
    return tmp_path


def names(count):
    return [f"pics/{i}.png" for i in range(count)]


def read(folder, kind, rows, **kwargs):
    (folder / "rows.json").write_text(json.dumps(rows))
    out = list(import_records(kind, str(folder / "rows.json"), **kwargs))
    return [r for r in out if not isinstance(r, BadRow)], [str(r.args[-1]) for r in out if isinstance(r, BadRow)]


def said(record, mode="vanilla", system=None):
    """[(role, text with <image> for each picture)] as the model is asked."""
    turns = []
    for message in build_messages(record, PromptStyle(mode, system)):
        parts = message["content"] if isinstance(message["content"], list) else [{"text": message["content"]}]
        turns.append((message["role"], "".join(p.get("text", "<image>") for p in parts)))
    return turns


def test_the_released_cold_start_is_learned_verbatim(folder):
    rows = [
        {"instruction": "<image>Which order?" + TRAILER, "input": "", "output": BOXED, "images": ["pics/0.png"]},
        {
            "instruction": "<image>" * 5 + "Which?" + TRAILER,
            "output": BOXED,
            "images": [f"pics/{i}.png" for i in range(5)],
        },
        {"instruction": "Which?", "input": "<image>", "output": "left", "images": "pics/0.png"},
    ]
    records, bad = read(folder, "alpaca", rows)
    assert not bad and [len(r.images) for r in records] == [1, 5, 1]
    for record, row in zip(records, rows):
        check_record(record)
        asked = row["instruction"] + ("\n" + row["input"] if row.get("input") else "")
        for mode in ("vanilla", "think_boxed"):
            assert said(record, mode) == [("user", asked)] and target_text(record, mode) == row["output"]
    assert records[0].answer == "2-0-1" and json.loads(records[0].reward) == {"kind": "ssrl"}
    assert json.loads(records[0].meta)["thought"].startswith("The left edge")


def test_alpaca_system_and_history(folder):
    row = {
        "instruction": "And now?",
        "input": "<image>",
        "output": "Right.",
        "system": "Be brief.",
        "history": [["<image>Where is the cup?", "Left."], ["Sure?", "Yes."]],
        "images": ["pics/0.png", "pics/1.png"],
    }
    records, bad = read(folder, "alpaca", [row])
    assert not bad and [target_text(r, "vanilla") for r in records] == ["Left.", "Yes.", "Right."]
    assert said(records[2]) == [
        ("system", "Be brief."),
        ("user", "<image>Where is the cup?"),
        ("assistant", "Left."),
        ("user", "Sure?"),
        ("assistant", "Yes."),
        ("user", "And now?\n<image>"),
    ]
    assert [len(r.images) for r in records] == [1, 1, 2] and said(records[0], system="Mine.")[0] == ("system", "Mine.")


def test_sharegpt_turns_system_and_pictures(folder, capsys):
    talk = [
        {"from": "system", "value": "You see rooms."},
        {"from": "human", "value": "<image><image>Same room?"},
        {"from": "gpt", "value": "<think>The door differs.</think>No"},
        {"from": "human", "value": "<image>And this? {not a place}"},
        {"from": "gpt", "value": BOXED},
    ]
    rows = [
        {"conversations": talk, "images": names(3)},
        {"conversations": talk[1:3], "system": "Column.", "images": ["pics/0.png", "pics/1.png"]},
        {
            "conversations": [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "Left"}],
            "images": "pics/4.png",
        },
    ]
    records, bad = read(folder, "sharegpt", rows)
    assert not bad and [len(r.images) for r in records] == [2, 3, 2, 1]
    assert said(records[1]) == [
        ("system", "You see rooms."),
        ("user", "<image><image>Same room?"),
        ("assistant", "<think>The door differs.</think>No"),
        ("user", "<image>And this? {not a place}"),
    ]
    assert target_text(records[0], "think_answer") == talk[2]["value"] and records[0].answer == "No"
    assert said(records[2])[0] == ("system", "Column.") and said(records[3]) == [("user", "<image>Where?")]
    assert len({r.question_id for r in records}) == 4
    openai = [
        {"role": {"gpt": "assistant", "human": "user"}.get(t["from"], t["from"]), "content": t["value"]} for t in talk
    ]
    records, bad = read(folder, "sharegpt", [{"messages": openai, "images": rows[0]["images"]}])
    assert not bad and [target_text(r, "vanilla") for r in records] == [talk[2]["value"], BOXED]
    made = Import("sharegpt", str(folder / "rows.json"))
    list(made.records(made.survey(0)))
    lines = "\n".join(made.found.lines())
    assert "a system text of its own" in lines and "several turns" in lines


def chat(content, **reply):
    return {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "a", **reply}]}


def test_a_reply_that_is_not_to_be_learned_stands_before_the_others(folder):
    row = chat([{"type": "input_image", "image_url": "pics/0.png"}, {"type": "text", "text": "q"}], weight=0)
    row["messages"] += chat("And now?")["messages"]
    for written in (row, {"messages": json.dumps(row["messages"])}):
        (record,), bad = read(folder, "sharegpt", [written])
        turns = [("user", "<image>q"), ("assistant", "a"), ("user", "And now?")]
        assert not bad and said(record) == turns and len(record.images) == 1


def test_a_listing_beside_the_rows_says_their_form_columns_and_roles(folder, capsys):
    """LLaMA-Factory's dataset_info.json."""
    talk = [{"who": "U", "text": "<image>q"}, {"who": "B", "text": "a"}]
    files = {
        "mine.json": [{"ask": "<image>q", "reply": "a", "pic": "pics/0.png", "output": "no", "images": ["no.png"]}],
        "talk.json": [{"talk": talk, "images": ["pics/1.png"]}],
        "dataset_info.json": {
            "a": {"file_name": "mine.json", "columns": {"prompt": "ask", "response": "reply", "images": "pic"}},
            "b": {
                "file_name": "talk.json",
                "formatting": "sharegpt",
                "columns": {"messages": "talk", "images": "images"},
                "tags": {"role_tag": "who", "content_tag": "text", "user_tag": "U", "assistant_tag": "B"},
            },
            "c": {"hf_hub_url": "x/y"},
        },
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))
    for kind, name in (("alpaca", "mine.json"), ("sharegpt", "talk.json")):
        for path in (folder / name, folder):
            made = Import(kind, str(path))
            (record,) = made.records(made.survey(0))
            assert said(record) == [("user", "<image>q")] and target_text(record, "vanilla") == "a"
        assert (
            len(made.said) == 2 and f"it is --import={'alpaca' if kind == 'sharegpt' else 'sharegpt'}" in made.said[0]
        )
    wrong = [
        ("sharegpt", "mine.json", "it is --import=alpaca"),
        ("alpaca", "dataset_info.json", "mine.json, talk.json"),
    ]
    for kind, name, cure in wrong:
        assert synthesize([f"--import={kind}", f"--path={folder / name}", f"--out={folder / 'o'}"]) == 2
        assert cure in capsys.readouterr().err
    made = Import("alpaca", str(folder / "mine.json"), columns={"question": "ask", "images": "pic", "answer": "reply"})
    assert len(list(made.records(made.survey(0)))) == 1 and "is not read, for --columns" in made.said[0]
    (folder / "shards").mkdir()
    (folder / "mine.json").rename(folder / "shards" / "0.json")
    files["dataset_info.json"]["a"]["file_name"] = "shards"
    (folder / "dataset_info.json").write_text(json.dumps(files["dataset_info.json"]))
    made = Import("alpaca", str(folder / "shards"), str(folder))
    assert [said(record) for record in made.records(made.survey(0))] == [[("user", "<image>q")]]
    files["dataset_info.json"]["d"] = files["dataset_info.json"]["a"] | {"columns": {"response": "output"}}
    (folder / "dataset_info.json").write_text(json.dumps(files["dataset_info.json"]))
    with pytest.raises(ValueError, match="'a' and 'd' for one file: say --columns"):
        Import("alpaca", str(folder / "shards" / "0.json"))


def test_rows_that_are_no_conversation_say_why(folder):
    ask, reply = {"from": "human", "value": "<image>q"}, {"from": "gpt", "value": "a"}
    pad = {"from": "human", "value": "<|vision_start|><|image_pad|><|vision_end|>q"}
    picture = {"images": ["pics/0.png"]}
    cases = {
        "number of <image> marks": {"conversations": [ask, reply], "images": ["pics/0.png", "pics/1.png"]},
        "ends without a reply": {"conversations": [ask], **picture},
        "two user's turns": {"conversations": [ask, ask, reply], **picture},
        "do not begin with a user's": {"conversations": [reply, ask, reply], **picture},
        "empty assistant's turn": {"conversations": [ask, {"from": "gpt", "value": " "}], **picture},
        "a reply holds an <image>": {"conversations": [ask, {"from": "gpt", "value": "<image>"}], **picture},
        "unknown role": {"conversations": [ask, {"from": "nobody", "value": "x"}], **picture},
        "shows a video": {"conversations": [ask, reply], "videos": ["a.mp4"]},
        "offers tools": {"conversations": [ask, reply], "tools": "[{}]", **picture},
        "preference pair": {"conversations": [ask], "chosen": reply, "rejected": reply, **picture},
        "coordinate placeholder": {"conversations": [ask, {"from": "gpt", "value": "at {x:3}"}], **picture},
        "picture file is missing": {"conversations": [ask, reply], "images": ["pics/no.png"]},
        "no conversation in": {"instruction": "q", "output": "a"},
        "neither text nor picture": chat([{"type": "input_audio", "input_audio": {}}, {"type": "text", "text": "q"}]),
        "message shows a video": chat([{"type": "video_url", "video_url": {"url": "a.mp4"}}]),
        "calls tools": {"conversations": [ask, {"from": "function_call", "value": "{}"}, ask, reply], **picture},
        "reply not to give": {"conversations": [ask, reply], "kto_tag": False, **picture},
        "the system text holds an": {"conversations": [ask, reply], "system": "<image>", **picture},
        "otherwise than by <image>": {"conversations": [pad, reply], **picture},
        "write <image> where": {"conversations": [{"from": "human", "value": "<image_1>q"}, reply], **picture},
        "of its column differ": {
            "conversations": [{"from": "system", "value": "s"}, ask, reply],
            "system": "t",
            **picture,
        },
        "is to be learned": {"conversations": [ask, reply | {"loss": False}], **picture},
        "not its beginning": {"conversations": [ask, {"from": "system", "value": "s"}, reply], **picture},
    }
    _, bad = read(folder, "sharegpt", list(cases.values()))
    assert len(bad) == len(cases)
    for part, why in zip(cases, bad):
        assert part in why
    _, bad = read(
        folder, "alpaca", [{"instruction": "q"}, {"output": "a"}, {"instruction": "q", "output": "a", "history": "x"}]
    )
    assert bad == ["field output is missing", "field instruction is missing", "history is no list of [said, reply]"]


JSON = st.recursive(
    st.none()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from(["<image>", "human", "gpt", "user", "pics/0.png"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["from", "value", "role", "content"]), inner, max_size=2)
    ),
    max_leaves=6,
)
COLUMNS = ["instruction", "input", "output", "history", "system", "conversations", "messages", "images", "videos"]


@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), JSON, max_size=6), min_size=1, max_size=3), st.booleans())
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_row_gives_records_or_a_reason(folder, rows, chat):
    records, bad = read(folder, "sharegpt" if chat else "alpaca", rows)
    assert not any("unexpected form" in why for why in bad), (rows, bad)
    for record in records:
        check_record(record)
        build_messages(record)
        question_features().encode_example(to_example(record))


def test_what_a_user_brings_is_read_or_told_with_its_cure(folder, capsys):
    row = {"instruction": "<image>Where?", "output": "Left.", "images": ["pics/0.png"]}
    talk = {"conversations": [{"from": "Human", "value": "<image>Where?"}, {"from": "GPT", "value": "Left."}]}
    read_as = [
        ("alpaca", "list.jsonl", json.dumps([row]), ""),
        ("alpaca", "pretty.jsonl", json.dumps([row], indent=1), ""),
        ("alpaca", "windows.json", json.dumps([row | {"images": ["pics\\0.png"]}]), ""),
        ("sharegpt", "capital.json", json.dumps([talk | {"images": ["pics/0.png"]}]), ""),
        ("alpaca", "nan.json", '[{"instruction": "Where?", "output": NaN}]', "with --columns="),
        ("alpaca", "empty.json", "", "it holds no row"),
        ("alpaca", "none.json", "[]", "it holds no row"),
        ("alpaca", "lost.json", json.dumps([row | {"images": ["no/0.png"]}]), "start from with --images=DIR"),
        ("alpaca", "talk.json", json.dumps([talk]), "--import=sharegpt"),
        ("sharegpt", "row.json", json.dumps([row]), "--import=alpaca"),
        ("ssrl", "cold.json", json.dumps([row]), "--import=alpaca"),
        ("alpaca", "other.json", json.dumps([{"ask": "a", "reply": "b"}]), "ask, reply; say which is which with"),
        ("vilasr_rl", "form.json", json.dumps([{"ask": "a", "reply": "b"}]), "published form vilasr_rl?"),
    ]
    for kind, name, text, cure in read_as:
        (folder / name).write_text(text)
        code = synthesize([f"--import={kind}", f"--path={folder / name}", f"--out={folder / name}.out"])
        said = capsys.readouterr().err.strip()
        assert code == (2 if cure else 0) and cure in said and said.count("\n") == 0, (name, said)
