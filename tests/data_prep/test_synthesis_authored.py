"""Questions that a model writes: kept where our rules answer them, refused by reason where the model lies."""

import contextlib
import http.server
import json
import math
import threading

import pytest
from synthesis_world import picture, scene

from data_prep.synthesis import Generator, Options, choose_families
from data_prep.synthesis.authored.author import Author, AuthorSettings, plan_lines
from data_prep.synthesis.authored.verify import Refused, read_reply, verify
from data_prep.synthesis.view import SceneView

SCENE = scene(3, objects=6, image=picture(320, 240))
VIEW = SceneView(SCENE, Options())
A, B, C = VIEW.things[:3]


def entry(question, answer, what, *objects):
    return {"question": question, "answer": answer, "claim": {"what": what, "objects": [o.caption for o in objects]}}


def gap(a, b):
    return math.dist(a.center, b.center)


FAR, NEAR = (B, C) if gap(A, B) > gap(A, C) else (C, B)
APART = entry(f"How many metres apart are the {A.caption} and the {B.caption}?", f"{gap(A, B):.2f}", "distance", A, B)
BY = entry(
    f"How much farther from the {A.caption} is the {FAR.caption} than the {NEAR.caption}, in metres?",
    f"about {gap(A, FAR) - gap(A, NEAR):.2f} m",
    "farther_by",
    A,
    FAR,
    NEAR,
)


@pytest.mark.parametrize("good", [APART, BY, {**APART, "answer": round(gap(A, B), 1)}])
def test_an_honest_question_is_kept_with_our_answer(good):
    written = verify(good, VIEW, Options())
    assert written.text == good["question"]
    assert float(written.found.answer) == pytest.approx(written.found.value, abs=0.006)


def lie(base, **changes):
    """The entry with its question, answer or claim changed."""
    out = json.loads(json.dumps(base))
    for key, value in changes.items():
        if key in ("what", "objects"):
            out["claim"][key] = value
        else:
            out[key] = value
    return out


TEXT = APART["question"]


@pytest.mark.parametrize(
    ("false", "reason"),
    [
        (lie(APART, answer=f"{1.3 * gap(A, B):.2f}"), "answer contradicts the measures"),
        (lie(APART, answer=f"{100 * gap(A, B):.0f}"), "answer contradicts the measures"),
        (lie(APART, answer=f"{gap(A, B):.2f} cm"), "answer contradicts the measures"),
        (lie(APART, answer=f"{gap(A, B):.2f} or 9"), "answer contradicts the measures"),
        (lie(APART, answer="far"), "answer contradicts the measures"),
        (lie(APART, objects=[A.caption, "golden elephant"]), "names an object that is not in the picture"),
        (lie(APART, objects=[A.caption, C.caption]), "does not name its objects"),
        (lie(APART, objects=[A.caption]), "a claim about the wrong number of objects"),
        (lie(APART, objects=[A.caption, A.caption]), "a claim about the wrong number of objects"),
        (lie(APART, objects=A.caption), "a claim without its objects"),
        (lie(APART, what="weight"), "claims what no rule verifies"),
        (lie(APART, what="depth", objects=[A.caption]), "names an object that its claim does not"),
        (lie(APART, question=TEXT.replace("metres", "centimetres")), "asks in another unit than its claim's"),
        (lie(APART, question=TEXT.replace("metres", "steps")), "asks in another unit than its claim's"),
        (lie(APART, question=TEXT.replace("apart", "in weight")), "asks something else than it claims"),
        (lie(APART, question=TEXT.replace("apart", "apart to the left")), "asks something else than it claims"),
        (lie(APART, question=TEXT.replace("How many", "How many not")), "asks something else than it claims"),
        (lie(APART, question=TEXT + " It is 2.4."), "gives numbers or an answer away"),
        (lie(APART, question=TEXT + f" The {C.caption} is not meant."), "names an object that its claim does not"),
        (lie(APART, question=TEXT + " <image>"), "holds something foreign"),
        (lie(APART, question=TEXT + " See http://x.y"), "holds something foreign"),
        (lie(APART, question=TEXT + " {x:4}"), "holds something foreign"),
        (lie(APART, question=9), "a question without a text or an answer"),
        (lie(BY, objects=[FAR.caption, A.caption, NEAR.caption]), "its objects stand in other places than it claims"),
        (lie(BY, objects=[A.caption, NEAR.caption, FAR.caption]), "its objects stand in other places than it claims"),
        ("How far?", "a question without a claim"),
        ({"question": TEXT, "answer": "1"}, "a question without a claim"),
    ],
)
def test_every_lie_is_refused_for_its_reason(false, reason):
    with pytest.raises(Refused) as caught:
        verify(false, VIEW, Options())
    assert str(caught.value) == reason


def test_comparisons_are_answered_by_geometry_and_close_calls_are_not_asked():
    near, far = sorted(VIEW.things, key=lambda t: t.depth)[:: len(VIEW.things) - 1]
    text = f"Which is closest to the camera, the {far.caption} or the {near.caption}?"
    good = entry(text, f"the {near.caption}", "nearest_to_camera", far, near)
    assert verify(good, VIEW, Options()).found.answer == near.caption
    for wrong, reason in (
        (lie(good, answer=far.caption), "answer contradicts the measures"),
        (lie(good, what="farthest_from_camera"), "asks something else than it claims"),
    ):
        with pytest.raises(Refused, match=reason):
            verify(wrong, VIEW, Options())
    with pytest.raises(Refused, match="too unsure or too close to call"):
        verify(good, VIEW, Options(depth_ratio=100.0))
    left, right = sorted(VIEW.things, key=lambda t: t.u)[:: len(VIEW.things) - 1]
    side = entry(f"Is the {left.caption} to the left of the {right.caption}?", "yes", "left_of", left, right)
    assert verify(side, VIEW, Options()).found.answer == "yes"
    with pytest.raises(Refused, match="other places"):
        verify(lie(side, objects=[right.caption, left.caption]), VIEW, Options())
    with pytest.raises(Refused, match="no harder"):
        verify(APART, VIEW, Options(), least_hops=1)


@pytest.mark.parametrize("reply", ["", "Sure! Here you are", "{}", '{"questions": 4}', "[1", '"x"', "[" * 2000])
def test_a_reply_that_is_no_list_is_refused(reply):
    with pytest.raises(Refused, match="reply is no"):
        read_reply(reply)


def test_lists_come_fenced_or_inside_an_object():
    assert read_reply('```json\n[{"a": 1}]\n```') == [{"a": 1}] == read_reply('{"questions": [{"a": 1}]}')


@contextlib.contextmanager
def server(reply):
    """An endpoint that says `reply(request text)`, a status or a text; gives (address, requests)."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(body)
            said = reply(body["messages"][1]["content"][1]["text"])
            status = said if isinstance(said, int) else 200
            data = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}/v1", asked
    found.shutdown()


def author(tmp_path, url="", **changes):
    settings = AuthorSettings(url, "vlm", str(tmp_path / "replies.jsonl"), workers=2, tries=1, seconds=5.0, **changes)
    return Author(settings, Options())


def test_new_and_harder_questions_come_from_the_picture_and_a_second_run_needs_no_endpoint(tmp_path):
    given = Generator(choose_families("depth_order2"), Options(), per_scene=2)(SCENE)
    both = [APART, BY, lie(APART, answer="77"), BY]

    def reply(text):
        return json.dumps([APART, BY] if "harder ones" in text else both)

    with server(reply) as (url, asked):
        writer = author(tmp_path, url, harder=1)
        ((_, records),) = writer([(SCENE, given)])
    assert len(asked) == 2 and asked[0]["messages"][1]["content"][0]["image_url"]["url"].startswith("data:image/jpeg")
    assert A.caption in asked[0]["messages"][1]["content"][1]["text"]
    mine = records[len(given) :]
    assert records[: len(given)] == given and [r.family for r in mine] == ["authored_distance", "authored_farther_by"]
    assert writer.kept == {"new": 2}
    assert writer.reasons == {
        "answer contradicts the measures": 1,
        "asked already": 2,
        "no harder than the question it was made from": 1,
    }
    meta = mine[1].json_field("meta")
    assert meta["provenance"] == "llm" and meta["authored"]["model"] == "vlm" and meta["authored"]["mode"] == "new"
    assert mine[1].hops == 3 and mine[1].unit == "m" and mine[1].json_field("reward")["kind"] == "mra"
    again = author(tmp_path, harder=1)
    ((_, repeated),) = again([(SCENE, given)])
    assert repeated == records and "1 picture" not in " ".join(again.lines())
    assert "new 2" in " ".join(again.lines()) or "2 new" in again.lines()[0]


def test_harder_questions_remember_what_they_were_made_from(tmp_path):
    given = Generator(choose_families("depth_order2"), Options(), per_scene=1)(SCENE)
    with server(lambda text: json.dumps([BY])) as (url, _):
        ((_, records),) = author(tmp_path, url, new=0, harder=1)([(SCENE, given)])
    assert records[-1].json_field("meta")["authored"]["from"] == given[0].question_id


def test_a_dead_endpoint_costs_the_written_questions_alone(tmp_path):
    scenes = [scene(i, objects=4, image=picture(320, 240)) for i in range(8)]
    with server(lambda text: 503) as (url, asked):
        writer = author(tmp_path, url)
        out = list(writer([(s, []) for s in scenes]))
    assert [records for _, records in out] == [[]] * 8 and len(asked) <= 8
    assert writer.reasons["no reply: HTTP 503"] >= 5 and writer.reasons["no reply from the endpoint"] == 8


def test_a_dry_run_sends_nothing(tmp_path):
    with server(lambda text: "[]") as (url, asked):
        writer = author(tmp_path, url, harder=2)
        lines = plan_lines(writer, 10, writer.jobs(SCENE, []))
    assert not asked and lines[0] == "at most 3 requests a scene to vlm, 30 in all" and "nothing was sent" in lines[1]
