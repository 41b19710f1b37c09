"""A tiny policy end to end: self-built questions, a benchmark's items with pictures, a bad picture, and a run that is
interrupted.
"""

import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
import question_sets
from flax import nnx
from PIL import Image

from configs import eval_spatial
from spatial_jax.config import strict_as
from spatial_jax.data.asked import Asking, write_asking
from spatial_jax.data.records import QuestionRecord
from spatial_jax.drawing import Operation, environment
from spatial_jax.evals import generation
from spatial_jax.evals.asking import Request, by_clip
from spatial_jax.evals.generation import Sampler, engine_mesh
from spatial_jax.evals.heldout import evaluate_heldout
from spatial_jax.evals.protocol import Protocol, item_messages
from spatial_jax.evals.runner import Session, asked_rule, item_requests, load_records, run_benchmark, run_heldout
from spatial_jax.evals.settings import EngineSettings, EvalSettings, PolicySettings, SamplingSettings
from spatial_jax.models import ModelConfig, QwenVL, TextConfig, VisionConfig, save_pretrained, split_model
from spatial_jax.processing import EncodedPrompt, Processor, train_tokenizer
from spatial_jax.rewards.rule import reward_spec
from spatial_jax.rollout.shared import share_prompts

SETTINGS = EvalSettings(
    PolicySettings(dtype="float32", min_pixels=56 * 56, max_pixels=56 * 56),
    SamplingSettings(samples=2, temperature=1.0, max_new_tokens=4),
    EngineSettings(max_slots=16, prompts_per_call=4, prompt_buckets=(128, 192), answer_buckets=(8,), data=1),
)


def encoded(seed):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (56, 56, 3), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy")
    ids = train_tokenizer(["Which is closer, the red box or the blue cup? A. left B. right 1 2 3"] * 30, 400, path)
    vocabulary = ids.pop("vocab_size")
    text = TextConfig(vocabulary, 16, 24, 1, 2, 1, 8, 1e-6, 1e4, (2, 1, 1))
    vision = VisionConfig(
        "qwen2_5_vl", 1, 16, 24, 2, 16, "silu", 14, window_size=112, full_attention_blocks=(0,), tokens_per_second=2.0
    )
    config = ModelConfig("qwen2_5_vl", text, vision, True, **ids)
    save_pretrained((config, split_model(QwenVL(config, rngs=nnx.Rngs(0)))[1]), path)
    return path


def test_a_policy_is_asked_as_it_was_trained(policy, tmp_path):
    """An export's form, system text, limits and answer length hold where the settings leave them open."""
    export = shutil.copytree(policy, tmp_path / "export")
    processor = Processor.from_pretrained(export, min_pixels=28 * 28, max_pixels=56 * 56, video_max_pixels=84 * 84)
    write_asking(export, Asking("think_answer", "Look.", 5), processor)
    told = EvalSettings(PolicySettings(dtype="float32"), SamplingSettings(), SETTINGS.engine)
    sampler = Sampler.from_directory(export, told)
    result = run_heldout(sampler, [record(0)], told)
    assert result["policy"]["prompt_mode"] == "think_answer" and result["policy"]["system"] == "Look."
    assert result["policy"]["max_pixels"] == 56 * 56 and result["policy"]["video_max_pixels"] == 84 * 84
    assert result["mean_tokens"] <= 5 and sampler.asked.startswith("asked as it was trained: prompt_mode think_answer")
    told = dataclasses.replace(told, policy=PolicySettings(dtype="float32", prompt_mode="bare", system="template"))
    sampler = Sampler.from_directory(export, told)
    assert (sampler.asking.prompt_mode, sampler.asking.system) == ("bare", None)
    assert sampler.asked.endswith("trained otherwise: prompt_mode think_answer, system 'Look.'")


def test_the_answer_is_read_out_of_the_form_it_was_asked_in():
    item = dataclasses.replace(record(0), reward='{"kind": "word"}', answer="left", options=())
    rule = asked_rule(Asking("think_answer"))
    assert reward_spec(item.as_dict(), rule) == {"kind": "word", "format": "think_answer"}
    response = "<think>The answer is right? No.</think><answer>left</answer>"
    assert evaluate_heldout("x", [item], [{"responses": [response]}], rule=rule)["metrics"]["accuracy"] == 1
    assert reward_spec(item.as_dict(), asked_rule(Asking("bare"))) == {"kind": "word"}


@pytest.fixture(scope="module")
def sampler(policy):
    return Sampler.from_directory(policy, SETTINGS)


def test_another_policy_at_the_same_path_is_asked_anew(policy, tmp_path):
    """A folder trained on and exported again keeps its name: the answers of what was there before are not its own."""
    there, log = tmp_path / "export", tmp_path / "said.jsonl"
    shutil.copytree(policy, there)
    before = Sampler.from_directory(there, SETTINGS)
    asked = run_heldout(before, [record(0)], SETTINGS, session=Session(log))
    assert run_heldout(before, [record(0)], SETTINGS, session=Session(log))["weights"] == asked["weights"]
    weights = there / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"holds responses of other settings \(weights: "):
        run_heldout(Sampler.from_directory(there, SETTINGS), [record(0)], SETTINGS, session=Session(log))


def test_another_question_under_an_id_is_asked_anew(sampler, tmp_path):
    """A question file that was changed and imported again may keep its ids."""
    log, asked = tmp_path / "said.jsonl", []

    def progress(done, _):
        asked.append(done)

    for records in ([record(0), record(1)], [record(0), dataclasses.replace(record(1), question="And what is this?")]):
        asked.clear()
        run_heldout(sampler, records, SETTINGS, session=Session(log, progress))
    assert asked[0] == 1 and asked[-1] == 2  # of two
    rows = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    assert len(rows) == 3 and rows[1]["id"] == rows[2]["id"] and rows[1]["asked"] != rows[2]["asked"]


def test_a_model_without_a_chat_template_is_told_before_its_weights_are_read(policy, tmp_path):
    bare = shutil.copytree(policy, tmp_path / "bare", ignore=shutil.ignore_patterns("chat_template*", "*.safetensors"))
    told = json.loads((bare / "tokenizer_config.json").read_text())
    (bare / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in told.items() if k != "chat_template"}))
    with pytest.raises(ValueError, match="no chat template"):
        Sampler.from_directory(bare, SETTINGS)


def record(i):
    return QuestionRecord(
        f"q{i}",
        "test",
        "heldout",
        f"s{i // 2}",
        (encoded(i),),
        (56,),
        (56,),
        "Which is closer?",
        "mcq",
        "A",
        options=("left", "right"),
        reward='{"kind": "choice"}',
        family="closer" if i % 2 else "further",
    )


def test_heldout_run_resumes_to_the_same_answers(sampler, tmp_path):
    records = [record(i) for i in range(6)]
    broken = dataclasses.replace(records[2], question_id="broken", images=(b"not a picture",))
    records.insert(2, broken)
    whole = run_heldout(
        sampler,
        records,
        SETTINGS,
        train=[record(100 + i) for i in range(8)],
        session=Session(tmp_path / "a.jsonl"),
    )
    assert (
        whole["n"] == 7
        and whole["failed"] == 1
        and whole["samples"] == 2
        and "pass@2" in whole["metrics"]
        and "constant" in whole["prior"]
    )
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert len(lines) == 8 and whole["families"]["closer"]["n"] == 3
    (tmp_path / "b.jsonl").write_text("\n".join(lines[:4]) + "\n" + lines[4][:20])
    again = run_heldout(sampler, records, SETTINGS, session=Session(tmp_path / "b.jsonl"))
    rows = [
        {json.loads(line)["id"]: json.loads(line)["responses"] for line in path.read_text().splitlines()[1:]}
        for path in (tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    ]
    assert rows[0] == rows[1] and again["metrics"] == whole["metrics"]


def test_records_that_name_code_are_left_out(tmp_path, caplog):
    code = '{"kind": "\\u0075ser", "file": "/tmp/reward.py", "function": "reward"}'
    mixed = question_sets.write(tmp_path / "mixed", [question_sets.record(0), question_sets.record(1, reward=code)])
    assert [r.question_id for r in load_records([mixed], "train")] == ["closer/00000"]
    assert "1 of 2 records of split train left out: their rewards name code" in caplog.text
    alone = question_sets.write(tmp_path / "alone", [question_sets.record(1, reward=code)])
    with pytest.raises(ValueError, match=r"no record of split train is left .*name code"):
        load_records([alone], "train")
    judged = question_sets.write(tmp_path / "judged", [question_sets.record(1, reward='{"kind": "judge"}')])
    with pytest.raises(ValueError, match="ask a judge, and there is none"):
        load_records([judged], "train")


def test_questions_without_any_score_are_no_result():
    record = question_sets.record(0, reward='{"kind": "choice"}', answer="lamp")
    with pytest.raises(ValueError, match=r"no answer has a score .*lamp"):
        evaluate_heldout("mine", [record], [{"responses": ["cup"]}])


def test_benchmark_run_with_pictures_rotations_and_a_missing_one(sampler, tmp_path):
    items = [
        {
            "id": str(i),
            "question": "Where?",
            "choices": "A. left\nB. right",
            "answer": "B. right",
            "question_type": "t",
            "images": [encoded(i)],
        }
        for i in range(3)
    ]
    items.append({**items[0], "id": "gone", "images": [str(tmp_path / "none.png")]})
    result = run_benchmark(
        sampler,
        "viewspatial",
        items,
        SETTINGS,
        scoring="lmms_eval",
        rotations=2,
        session=Session(tmp_path / "r.jsonl"),
    )
    assert result["n"] == 4 and result["failed"] == 2 and result["rotation"]["items"] == 4
    kept = {json.loads(line)["id"]: json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()[1:]}
    assert (
        len(kept) == 8
        and len(kept["0"]["responses"]) == 2
        and kept["0"]["model_sizes"] == [[56, 56]]
        and "none.png" in kept["gone"]["error"]
    )


def test_a_policy_that_draws_is_asked_until_it_answers(policy, tmp_path, monkeypatch):
    monkeypatch.setattr(
        environment, "parse", lambda text, tools: [Operation("box", 1, "it", (1, 1, 30, 1 + sum(map(ord, text)) % 40))]
    )
    monkeypatch.setattr(environment.DrawingEnvironment, "closed", lambda self, trajectory: True)
    monkeypatch.setattr(
        Processor, "eos_ids", property(lambda self: tuple(range(0, 256, 3)), lambda self, ids: None), raising=False
    )
    settings = dataclasses.replace(
        SETTINGS,
        policy=dataclasses.replace(SETTINGS.policy, prompt_mode="drawing", system=""),
        sampling=dataclasses.replace(SETTINGS.sampling, turns=3),
        engine=dataclasses.replace(SETTINGS.engine, answer_buckets=(8, 512)),
    )
    result = run_heldout(
        Sampler.from_directory(policy, settings),
        [record(i) for i in range(3)],
        settings,
        session=Session(tmp_path / "drawn.jsonl"),
    )
    rows = [json.loads(line) for line in (tmp_path / "drawn.jsonl").read_text().splitlines() if "responses" in line]
    texts = [text for row in rows for text in row.get("responses", ())]
    assert (
        len(texts) == 6
        and any("index of the given image is 2" in text for text in texts)
        and result["metrics"]["overall"] == 0.0
    )


def test_messages_put_pictures_at_their_marks():
    first, text = {"type": "image"}, {"type": "text", "text": "q"}
    assert item_messages("q", 2, 0)[0]["content"] == [first, first, text]
    assert item_messages("a<image>b", 1, 0)[0]["content"] == [
        {"type": "text", "text": "a"},
        first,
        {"type": "text", "text": "b"},
    ]
    assert item_messages("q", 0, 1, "s") == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": [{"type": "video"}, text]},
    ]


@pytest.mark.parametrize("arg", ["full", "vilasr", "tiny"])
def test_the_recipe_is_the_settings(arg):
    config = eval_spatial.get_config(arg)
    config.policy.by_family = ("count*=number",)
    assert strict_as(EvalSettings, config).policy.by_family == ("count*=number",)
    assert strict_as(EvalSettings, eval_spatial.get_config(arg)).policy.by_family == ()


def test_settings_that_contradict_each_other():
    with pytest.raises(ValueError, match="temperature 0"):
        EvalSettings(sampling=SamplingSettings(samples=4)).check()


@pytest.mark.parametrize(
    ("axes", "heads", "shape"),
    [
        ({}, 2, {"data": 4, "fsdp": 1, "tensor": 2}),
        ({}, 1, {"data": 8, "fsdp": 1, "tensor": 1}),
        ({"fsdp": 4}, 8, {"data": 1, "fsdp": 4, "tensor": 2}),
        ({"data": 1, "fsdp": -1, "tensor": 1}, 4, {"data": 1, "fsdp": 8, "tensor": 1}),
        ({"data": 1, "tensor": 1}, 4, None),
    ],
)
def test_answers_are_sampled_around_copies_of_the_weights(axes, heads, shape):
    mesh = engine_mesh(EngineSettings(**axes), heads)
    assert (mesh is None and shape is None) or dict(mesh.shape) == shape


def about(i, picture, question, scene="walk", frames=1):
    """A question on one of two clips."""
    changes = {"scene_id": scene, "images": (encoded(picture),) * frames, "widths": (56,) * frames}
    meta = json.dumps({"video": {"fps": 1.0}}) if frames > 1 else "{}"
    asked = dataclasses.replace(record(i), question=question, heights=(56,) * frames, meta=meta, **changes)
    return dataclasses.replace(asked, question_type="word", options=(), answer="left", reward='{"kind": "word"}')


def test_questions_on_one_clip_pass_it_once_with_the_same_answers(policy, tmp_path):
    texts = [
        "Which is left?",
        "Is it 1?",
        "Which box is closer, the red one?",
        "blue?",
        "A. left B. right",
        "Which?",
        "3",
    ]
    records = [about(i, 50 + i % 2, text, f"walk{i % 2}", 4) for i, text in enumerate(texts)]
    records.append(about(7, 9, "Which is closer?", "alone"))
    settings = EvalSettings(
        dataclasses.replace(SETTINGS.policy, video_min_pixels=784, video_max_pixels=56 * 56),
        SamplingSettings(max_new_tokens=4),
        dataclasses.replace(SETTINGS.engine, answer_buckets=(8, 64)),
    )
    sampler = Sampler.from_directory(policy, settings)
    results, answers = [], []
    for share in (True, False):
        sampler.share = share
        path = tmp_path / f"{share}.jsonl"
        results.append(run_heldout(sampler, records, settings, session=Session(path)))
        rows = [json.loads(line) for line in path.read_text().splitlines()[1:]]
        answers.append({row["id"]: (row["responses"], row["lengths"], row["model_sizes"]) for row in rows})
    sampler.share = True
    assert answers[0] == answers[1] and results[0]["metrics"] == results[1]["metrics"]
    once, each = (result["prompt_tokens"] for result in results)
    assert each["passed"] == each["distinct"] > 1.5 * once["distinct"] and once["passed"] <= 1.2 * once["distinct"]
    # An interrupted run goes on with what is left of each clip.
    lines = (tmp_path / "True.jsonl").read_text().splitlines()
    (tmp_path / "half.jsonl").write_text("\n".join(lines[:4]) + "\n")
    half = run_heldout(sampler, records, settings, session=Session(tmp_path / "half.jsonl"))
    assert half["metrics"] == results[0]["metrics"]


def test_what_is_asked_about_one_clip_is_asked_together():
    shows = ["a", None, "b", "a", None, "b", "a"]
    requests = [Request(str(i), i, lambda: None, show) for i, show in enumerate(shows)]
    assert [[r.id for r in group] for group in by_clip(requests)] == [["0", "3", "6"], ["1"], ["2", "5"], ["4"]]


def test_sets_hold_every_prompt_once_and_begin_where_they_part():
    rng = np.random.default_rng(0)
    for count, most in ((1, 8), (2, 8), (17, 64), (9, 4), (65, 64)):
        ends = [rng.integers(5, 9, rng.integers(1, 12)) for _ in range(count)]
        prompts = [clip_prompt([1, 2, 2, 2, 2, 3, *(4,) * 5, *end]) for end in ends]
        sets, alone = share_prompts(prompts, most, longest=20)
        assert sorted([i for s in sets for i in s.places] + alone) == list(range(count))
        assert alone == [0] if count == 1 else not alone
        for shared in sets:
            assert 2 <= len(shared.ends) <= shared.size <= max(most, 2) and len(shared.padded) == shared.size
            assert shared.prefix.next_position == len(shared.prefix) and shared.prefix.patches == 16
            for place, end in zip(shared.places, shared.ends):
                whole = np.concatenate([shared.prefix.input_ids, end])
                np.testing.assert_array_equal(whole, prompts[place].input_ids)
    other = dataclasses.replace(prompts[0], grid_thw=np.asarray([[1, 2, 8]]))
    assert share_prompts([prompts[0], other], 8, 20) == ([], [0, 1])
    sets, alone = share_prompts([*prompts[:3], clip_prompt([1, 2, 2, 2, 2, 3, *(7,) * 40])], 8, 20)
    assert alone == [3] and sets[0].places == (0, 1, 2)


def clip_prompt(ids):
    ids = np.asarray(ids, np.int32)
    positions = np.broadcast_to(np.arange(len(ids), dtype=np.int32), (3, len(ids)))
    types = np.asarray(ids == 2, np.uint8)
    return EncodedPrompt(ids, positions, len(ids), types, np.zeros((16, 4)), np.asarray([[1, 4, 4]]), [(56, 56)])


def test_clips_that_cannot_be_shown_are_told_apart_from_those_that_can(sampler, tmp_path):
    """One frame, many, cut off in the middle, not there: each is asked, or named by its file; one decoding a clip."""
    av = pytest.importorskip("av")

    def write(name, frames):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width, stream.height, stream.pix_fmt, stream.codec_context.gop_size = 64, 48, "yuv420p", 4
            for k in range(frames):
                pixels = np.full((48, 64, 3), 5 * (k % 40), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
            container.mux(stream.encode())
        return tmp_path / name

    whole = write("whole.mkv", 40).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "head.mp4").write_bytes(write("x.mp4", 4).read_bytes()[:200])
    shown = {"whole.mkv": 4, write("one.mkv", 1).name: 1, write("long.mkv", 2000).name: 4, "cut.mkv": 4}
    names = [*shown, "head.mp4", "gone.mp4"]
    items = [
        {
            "id": f"{name}/{k}",
            "video": str(tmp_path / name),
            "question": "How many?",
            "question_type": "object_counting",
        }
        for k in range(2)
        for name in names
    ]
    protocol = Protocol(None, None, 4, frames=4)
    requests = item_requests("vsi_bench", items, sampler, "official", protocol)
    assert [[r.id[-1] for r in group] for group in by_clip(requests)] == [["0", "1"]] * len(names)
    for group in by_clip(requests):
        name = group[0].id.partition("/")[0]
        for request in group:
            if name in shown:
                prompt, extra, _ = request.encode()
                assert len(extra["frames"]) == shown[name] and prompt.grid_thw[0, 0] == -(-shown[name] // 2)
            else:
                with pytest.raises(ValueError, match=name) as error:
                    request.encode()
                assert "\n" not in str(error.value)


def test_the_first_of_several_processes_reads_the_weights_for_all(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    sampler = Sampler.__new__(Sampler)
    sampler.folder = tmp_path
    alone = sampler.weights
    other = Sampler.__new__(Sampler)  # a folder that this process cannot see
    other.folder = tmp_path / "elsewhere"

    def broadcast(own):
        assert len(own) == len(alone)
        return np.frombuffer(alone.encode(), np.uint8)

    monkeypatch.setattr(generation.jax, "process_count", lambda: 2)
    monkeypatch.setattr(generation, "is_primary", lambda: False)
    monkeypatch.setattr(generation.multihost_utils, "broadcast_one_to_all", broadcast)
    monkeypatch.setattr(generation, "hash_files", None)
    assert other.weights == alone
