"""The page, in a real browser."""

import json
import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from locked.classifier import Classifier
from tests.serve.here import Here, Serve

PHONE: ViewportSize = {"width": 360, "height": 740}
TWEET = "Wildfire forces hundreds from their homes near the lake"
ODD = (
    "حريق كبير في وسط المدينة",
    "🔥🌊 Flood 🚨 in 東京, sirens 👩‍🚒👨‍👩‍👧",
    "<img src=x onerror=alert(1)> & \"quotes\" 'n' <b>bold</b>",
    "x" * 4000,
    "fire " * 499 + "fire",
)


@pytest.fixture
def page(browser: Browser, server: Here) -> Iterator[Page]:
    """The page on a phone; whatever it complains of fails the test."""
    opened = browser.new_page(viewport=PHONE)
    complaints: list[str] = []
    opened.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    allowed_urls = (server.url, "data:")  # no other address is asked
    opened.on(
        "request", lambda r: None if r.url.startswith(allowed_urls) else complaints.append(r.url)
    )
    opened.goto(server.url)
    yield opened
    opened.close()
    assert complaints == []


def fill(page: Page, text: str) -> None:
    page.get_by_label("Tweets, one a line").fill(text)


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_one_tweet_is_answered_as_it_is_typed(page: Page, server: Here) -> None:
    page.keyboard.type(TWEET, delay=5)
    answer = server.post("/explain", {"text": TWEET}).json()
    percent = f"{100 * answer['probability']:.1f} %"
    name = {"disaster": "Disaster", "not_disaster": "No disaster"}[answer["label"]]
    item = page.locator("#answers li")
    expect(item).to_have_count(1)
    expect(item.locator("strong")).to_have_text(name)
    expect(item.locator(".probability")).to_have_text(f"{percent} disaster")
    expect(page.get_by_role("status").first).to_have_text(f"{name}, {percent}")
    bar = item.locator(".bar span")
    bar.evaluate("e => Promise.all(e.getAnimations().map((a) => a.finished))")  # it moves there
    width, whole = (f"e{part}.getBoundingClientRect().width" for part in ("", ".parentElement"))
    share = bar.evaluate(f"e => {width} / {whole}")
    assert share == pytest.approx(answer["probability"], abs=0.02)
    assert fits(page)
    marks, words = item.locator("mark"), answer["words"]  # shaded by their push
    expect(marks).to_have_count(len(words))
    strongest = max(words, key=lambda word: abs(float(word["push"])))
    mark = marks.nth(words.index(strongest))
    sign = "+" if strongest["push"] >= 0 else "\N{MINUS SIGN}"
    assert (mark.get_attribute("title") or "").startswith(sign)
    alpha = f"{0.55 * min(1, abs(strongest['push']) / 0.05):.2f}".rstrip("0")
    colour = "234, 88, 12" if strongest["push"] > 0 else "37, 99, 235"
    expect(mark).to_have_css("background-color", f"rgba({colour}, {alpha})")


def test_many_lines_have_an_answer_each(page: Page, classifier: Classifier) -> None:
    accuracy = 100 * classifier.manifest.metrics["accuracy"]
    expect(page.locator("#model")).to_contain_text(classifier.manifest.version)
    expect(page.locator("#model")).to_contain_text(f"accuracy {accuracy:.1f} %")
    lines = [TWEET, "this mixtape is fire", "", "   ", "Bridge collapses in storm"]
    fill(page, "\n".join(lines))
    texts = [line for line in lines if line.strip()]
    expect(page.locator("#answers li")).to_have_count(len(texts))
    expect(page.locator("#answers li .text")).to_have_text(texts)
    labels = [classifier.label(p) for p in classifier.probabilities(texts).tolist()]
    disasters = labels.count("disaster")
    expect(page.get_by_role("status").first).to_have_text(f"{disasters} of 3 report a disaster")
    expect(page.locator("#curl")).to_contain_text('"instances"')
    fill(page, "  \n ")
    expect(page.locator("#answers li")).to_have_count(0)
    expect(page.get_by_role("status").first).to_have_text("")


def test_odd_input_is_shown_as_it_is(page: Page) -> None:
    for text in ODD:
        fill(page, text)
        shown = page.locator("#answers .text")
        expect(shown).to_have_text(text)
        expect(page.locator("#answers mark")).to_have_count(len(text.split()))
        assert shown.evaluate("e => e.textContent") == text
        direction = shown.evaluate("e => getComputedStyle(e).direction")
        assert direction == ("rtl" if text == ODD[0] else "ltr")
        assert fits(page)


def test_a_verdict_is_given_by_keyboard_alone(page: Page, server: Here) -> None:
    expect(page.get_by_label("Tweets, one a line")).to_be_focused()  # from the first frame on
    page.keyboard.type("Landslide blocks the pass")
    expect(page.locator("#answers mark")).to_have_count(4)
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Wrong":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_text("Noted, thank you.")).to_be_visible()
    line = json.loads(server.feedback.read_text().splitlines()[-1])
    assert line["right"] is False
    assert line["id"].endswith("-0")  # the answer's own id, which the prediction log has


CONTRAST = """e => {
  const light = (c) => c.match(/[\\d.]+/g).slice(0, 3).map((v) => ((v / 255 + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], .05);
  let back = e;
  while (back && getComputedStyle(back).backgroundColor.endsWith(', 0)')) back = back.parentElement;
  const [a, b] = [getComputedStyle(e).color, getComputedStyle(back).backgroundColor].map(light);
  return Math.max(a / b, b / a);
}"""


def test_text_stands_out(page: Page) -> None:
    fill(page, TWEET)
    expect(page.locator("#answers mark").first).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (colour == "rgb(255, 255, 255)") == (scheme == "light")
        parts = page.locator("h1, #hint, label, #text, .judge, footer p, footer a, .text")
        contrasts = parts.evaluate_all(f"all => all.map({CONTRAST})")
        assert min(contrasts) >= 4.5, (scheme, contrasts)


def test_the_command_shown_works(page: Page, server: Here) -> None:
    fill(page, "it's 'fire'")
    page.get_by_text("The same from a terminal").click()
    expect(page.locator("#curl")).to_contain_text(f"{server.url}/predict")
    output = os.popen(page.locator("#curl").inner_text()).read()  # noqa: S605
    assert json.loads(output)["label"] in ("disaster", "not_disaster")


def test_it_asks_for_a_key_where_one_is_needed(browser: Browser, serve: Serve) -> None:
    page, key = browser.new_page(), "a-key-for-the-page-only"
    with serve(API_KEYS=key) as server:
        page.goto(server.url)
        fill(page, TWEET)
        expect(page.get_by_text("This server asks for an API key.")).to_be_visible()
        page.get_by_label("API key").fill(key)
        expect(page.locator("#answers li")).to_have_count(1)
    fill(page, "fire")
    expect(page.get_by_text("The server cannot be reached.")).to_be_visible()
    page.close()


def test_the_docs_need_no_internet(page: Page, server: Here) -> None:
    page.goto(f"{server.url}/docs")
    expect(page.get_by_role("heading", name="disaster-tweets")).to_be_visible()
    expect(page.get_by_text("/predict").first).to_be_visible()
