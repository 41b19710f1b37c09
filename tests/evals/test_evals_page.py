"""The evaluation page: few figures with names, what is below a blind guess, small cards that can be narrowed."""

import json
import re

from spatial_jax.evals.page import write_page
from spatial_jax.evals.results import ScoredItem, summarise
from spatial_jax.metrics.report.results import below_blind, blind_remark


def result(tmp_path):
    scores = {"depth": 0.0, "count": 1.0, "box": 0.5}
    items = [
        ScoredItem(f"{family}{i}", family, f"s{i}", (score,) * 4, (float(score > 0.4),) * 4, ("x",) * 4)
        for family, score in scores.items()
        for i in range(8)
    ]
    made = summarise("mine", items, scoring="reward", extra={"model": "m", "prior": {"constant": 0.2, "words": 0.3}})
    for name, row in made["families"].items():
        row |= {"prior_constant": 0.2, "prior_words": 0.6 if name == "box" else 0.3, "prior_accuracy_words": 0.9}
    rows = [{"id": item.id, "responses": [" left", "left", "<b>right", ""]} for item in items]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    views = [{"id": i.id, "question": "Which?", "answer": "left", "options": ["left", "right"]} for i in items]
    return {**made, "responses": str(tmp_path / "r.jsonl")}, views


def test_the_page_says_what_it_shows(tmp_path):
    made, views = result(tmp_path)
    text = write_page(made, tmp_path / "page.html", items=views).read_text()
    cards = re.findall(r'class="card number">.*?<span>(.*?)</span>', text)
    assert cards == ["mean score", "best blind guess", "% of answers right", "% right at least once in 4 answers"]
    assert "2 of 3 families are below a blind guess" in text and "depth 0.0 (blind 30.0), box 50.0 (blind 60.0)" in text
    assert "mean of the families&#x27; scores" in text and "prior accuracy words" not in text
    assert text.count('class="item"') == 24 and "2×" in text and "&lt;b&gt;right" in text and "(empty)" in text
    facets = [json.loads(f.replace("&quot;", '"')) for f in re.findall(r'data-facets="(.*?)"', text)]
    assert {f["verdict"][0] for f in facets} == {"right", "partly", "wrong"}


def test_what_is_below_a_blind_guess(tmp_path):
    families = result(tmp_path)[0]["families"]
    assert [name for name, _, _ in below_blind(families)] == ["depth", "box"]
    assert "callout bad" in blind_remark(families) and "intervals: depth" in blind_remark(families)
    assert "callout good" in blind_remark({"count": families["count"]})
    assert blind_remark({"count": {"n": 3, "reward": 0.1}}) is None
