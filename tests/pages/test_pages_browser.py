"""The parts of a page in a real browser: filters, sorting, enlarging, labels, keys, and not one request."""

import numpy as np
import pytest
from PIL import Image

from spatial_jax.pages import Box, Page, Series, command, line_plot, picture, searchable, table, tabs, tag
from tests.browser import Browser

pytestmark = [pytest.mark.proof, pytest.mark.browser]


def parts():
    """Every part once, with pictures enough to be put aside."""
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 255, (260, 340, 3), dtype=np.uint8)) for _ in range(12)]
    crowd = [
        Box((x, y, x + 60, y + 40), "a tall wooden chair", color=k)
        for k, (x, y) in enumerate(rng.uniform(0, 200, (14, 2)))
    ]
    items = [
        (picture(noise[k % 12]), f"item {k}", {"family": "even" if k % 2 == 0 else "odd", "object": [f"o{k % 15:02}"]})
        for k in range(24)
    ]
    rows = [
        ["all", "1,234", "–"],
        ["b", "1,200", "2.5"],
        ["a", "34", "–"],
        ["c", "−3", "0.06 ± 0.04"],
        ["d", "1.2k", "97"],
    ]
    page = Page("Parts")
    page.section(
        "Pictures",
        tag("div", picture(noise[0], boxes=crowd), class_="pictures"),
        picture(np.zeros((8, 9, 3), np.uint8)),
    )
    wide = [[f"value {i * j}" for i in range(14)] for j in range(3)]
    page.section(
        "Tables",
        table(["name", "count", "value"], rows, numeric=(1, 2), totals=1),
        table([f"column {i}" for i in range(14)], wide),
    )
    page.section("Plot", line_plot([Series("walk", range(9), [float(v) for v in range(9)])], title="walk"))
    page.section("Tabs", tabs([("one", "first pane"), ("two", "second pane")]))
    facets = {"family": ["even", "odd"], "object": [f"o{k:02}" for k in range(15)]}
    page.section("Cards", searchable(items, facets=facets, class_="items grid"), command("python -m x --a='1'"))
    return page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return parts().write(tmp_path_factory.mktemp("page") / "parts.html")


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened


def column(browser, number):
    return browser.run(
        f"[...document.querySelectorAll('table')[0].tBodies[0].rows].map(r => r.cells[{number}].textContent)"
    )


@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_error_no_request_and_nothing_wider_than_the_window(browser, page, width, dark):
    browser.open(page, width=width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.problems == [] and browser.requests == [page.resolve().as_uri()]
    ink, ground = (browser.run(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor"))
    bright = [sum(map(int, text[4:-1].split(","))) for text in (ink, ground)]
    assert (bright[0] > bright[1]) == dark


def test_filters_filter(browser, page):
    browser.open(page)
    shown = "[...document.querySelectorAll('#cards .item')].filter(e => e.offsetParent).length"
    assert browser.run(shown) == 24
    browser.run("document.querySelector('[data-value=odd]').focus()")
    browser.press("Enter")
    assert browser.run(shown) == 12 and browser.run("document.querySelector('.count').textContent") == "12 of 24 shown"
    assert browser.run("document.querySelector('[data-value=odd]').getAttribute('aria-pressed')") == "true"
    browser.run("{const s = document.querySelector('select'); s.value = 'o01'; s.dispatchEvent(new Event('change'))}")
    assert browser.run(shown) == 1  # items 1 and 16, of which one is odd
    browser.run("{const i = document.querySelector('input'); i.value = 'item 7'; i.dispatchEvent(new Event('input'))}")
    assert browser.run(shown) == 0 and browser.run("document.querySelector('.nothing').offsetParent !== null")


def test_a_column_sorts_and_its_total_stays(browser, page):
    browser.open(page)
    orders = []
    for _ in range(3):
        browser.run("document.querySelectorAll('th button')[1].focus()")
        browser.press("Enter")
        orders.append(column(browser, 0))
    assert orders == [["all", "b", "d", "a", "c"], ["all", "c", "a", "b", "d"], ["all", "b", "a", "c", "d"]]
    browser.run("document.querySelectorAll('th button')[2].click()")
    assert column(browser, 2) == ["–", "97", "2.5", "0.06 ± 0.04", "–"]
    browser.run("document.querySelectorAll('th button')[0].click()")
    assert column(browser, 0) == ["all", "a", "b", "c", "d"]


def test_a_wide_table_scrolls_by_keyboard_under_its_first_column(browser, page):
    browser.open(page, width=390)
    place = "document.querySelectorAll('.scroll')[1]"
    assert browser.run(f"{place}.tabIndex") == 0 and browser.run(f"{place}.classList.contains('more')")
    browser.run(f"{place}.scrollLeft = 300")
    left = f"{place}.querySelector('td').getBoundingClientRect().left - {place}.getBoundingClientRect().left"
    assert abs(browser.run(left)) < 2


def test_pictures_come_when_they_are_near(browser, page):
    browser.open(page)
    waiting = "document.querySelectorAll('img[data-picture]').length"
    assert browser.run(waiting) > 0  # far below, not put in yet
    assert browser.run("JSON.parse(document.querySelector('script.kept').textContent).length") == 13  # each once
    browser.run("window.scrollTo({top: 1e6, behavior: 'instant'})")
    browser.until("[...document.querySelectorAll('.item')].at(-1).querySelector('img').naturalWidth === 340")
    browser.run("dispatchEvent(new Event('beforeprint'))")
    assert browser.run(waiting) == 0


def test_a_small_picture_is_not_blown_up(browser, page):
    browser.open(page)
    assert browser.run("document.querySelectorAll('#pictures .stage')[1].offsetWidth") == 240


def test_labels_keep_off_each_other(browser, page):
    browser.open(page)
    browser.until("[...document.querySelectorAll('#pictures .label')].every(e => e.style.left || e.matches('.tucked'))")
    meet = """(() => {
      const labels = [...document.querySelectorAll('#pictures .label')].filter(e => e.offsetParent);
      const seen = labels.map(e => e.getBoundingClientRect());
      const names = document.querySelectorAll('#pictures .names span').length;
      const along = (a, b, from, to) => Math.max(0, Math.min(a[to], b[to]) - Math.max(a[from], b[from]));
      const met = seen.flatMap((a, i) => seen.slice(i + 1).filter(
        b => along(a, b, 'left', 'right') * along(a, b, 'top', 'bottom') > 0.1 * a.width * a.height));
      return [met.length, seen.length + names];
    })()"""
    assert browser.run(meet) == [0, 14]  # every object is named, beside its box or under the picture


def test_a_picture_enlarges_by_keyboard(browser, page):
    browser.open(page)
    browser.run("document.querySelector('.stage').focus()")
    browser.press("Enter")
    browser.until("document.querySelector('dialog').open")
    wide = "document.querySelector('dialog[open] .view .stage').offsetWidth"
    before = browser.run(wide)
    browser.press("+", "+")
    assert browser.run(wide) > 1.4 * before > 600
    browser.press("0", "0")
    browser.press("ArrowRight")
    assert browser.run("document.querySelector('.tools .count').textContent").startswith("2 of ")
    browser.press("Escape")
    assert not browser.run("document.querySelector('dialog').open") and browser.problems == []


def test_a_plot_tells_its_values_by_keyboard_and_tabs_turn(browser, page):
    browser.open(page)
    browser.run("document.querySelector('svg[data-plot]').focus()")
    for _ in range(3):
        browser.press("ArrowRight")
    assert browser.run("document.querySelector('.tip').textContent") == "step 22"
    browser.run("document.querySelectorAll('.tab-row button')[1].click()")
    assert browser.run("[...document.querySelectorAll('.pane')].map(e => e.offsetParent !== null)") == [False, True]
