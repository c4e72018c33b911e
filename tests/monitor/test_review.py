"""A sample is random, each tweet once, and neither file nor page says what the model answered."""

import csv
import re
from collections.abc import Iterator

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page

from monitor.labels import read_reviewed
from monitor.log import read
from tests.monitor.conftest import Place, command, tweets, write

TEXTS = ["=1+1", "@someone look", 'plain, "quoted"\n<b>and</b> a line', *["tweet"] * 297]


@pytest.fixture
def logged(place: Place) -> Place:
    lines = place.log(tweets(3, 300), texts=TEXTS)
    for line in lines[100:]:
        line["hash"] = lines[100]["hash"]
    write(place.logs / "predictions-1.jsonl", lines)
    return place


def sample(place: Place, number: int, name: str = "sample.csv") -> pd.DataFrame:
    path = place.folder / name
    arguments = ("--model", place.model, "--n", number, "--output", path)
    assert str(path) in command("review", place.logs, *arguments)
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_each_tweet_once_and_the_model_unnamed(logged: Place) -> None:
    table = sample(logged, 500)
    assert list(table) == ["id", "text", "label"]
    assert sorted(table["id"]) == sorted(f"r-{i}" for i in range(101))
    assert set(table["label"]) == {""}
    assert table["id"].tolist() != sorted(table["id"])
    assert sample(logged, 10, "10.csv")["id"].tolist() == table["id"][:10].tolist()
    with (logged.folder / "sample.csv").open(newline="") as file:
        texts = {row["id"]: row["text"] for row in csv.DictReader(file)}
    assert (texts["r-0"], texts["r-1"], texts["r-2"]) == ("'=1+1", "'@someone look", TEXTS[2])


def test_labels_are_not_written_over(logged: Place) -> None:
    path = logged.folder / "sample.csv"
    path.write_text("labelled")
    arguments = ("review", logged.logs, "--model", logged.model, "--output", path)
    assert "sample.csv exists and may have labels" in command(*arguments, status=1)
    assert path.read_text() == "labelled"


@pytest.fixture
def page(logged: Place, browser: Browser) -> Iterator[Page]:
    """The page of a sample of eight tweets, in a browser of its own."""
    sample(logged, 8)
    context = browser.new_context(viewport={"width": 360, "height": 640}, has_touch=True)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(f"file://{logged.folder}/sample.html")
    yield opened
    context.close()
    assert complaints == []


def saved(page: Page, place: Place) -> pd.DataFrame:
    with page.expect_download() as download:
        page.keyboard.press("s")
    path = place.folder / download.value.suggested_filename
    download.value.save_as(path)
    log, _ = read([str(place.logs)], place.version)
    labels = read_reviewed([str(path)], log)
    return pd.DataFrame({"id": log.distinct["id"].iloc[labels.rows], "target": labels.targets})


def test_the_page_takes_a_key_a_tweet(page: Page, logged: Place) -> None:
    table, status = pd.read_csv(logged.folder / "sample.csv", dtype=str), page.get_by_role("status")
    for key in ("d", "ArrowLeft", "Space", "n", "n", "n", "n", "n"):
        page.keyboard.press(key)
    assert status.inner_text() == "8 of 8 done, 7 labelled"
    page.keyboard.press("Backspace")
    page.keyboard.press("d")  # instead of n
    assert page.locator("#tweet").inner_text() == "All tweets are done. Save the labels."
    page.keyboard.press("d")  # nothing is left to label
    labelled = saved(page, logged)
    assert labelled["id"].tolist() == table["id"].drop(2).tolist()  # not the one in doubt
    assert labelled["target"].tolist() == [1, 0, 0, 0, 0, 0, 1]


def test_the_page_takes_touches_and_keeps_labels_when_closed(page: Page, logged: Place) -> None:
    assert not re.search(r"""(src|href)=["']?\w""", (logged.folder / "sample.html").read_text())
    fields = page.evaluate("[...new Set(tweets.flatMap(Object.keys))]")
    assert set(fields) == {"id", "text"}  # nothing of the answer
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    texts = pd.read_csv(logged.folder / "sample.csv", dtype=str)["text"].tolist()
    assert page.locator("#tweet").inner_text() == texts[0].removeprefix("'")
    page.get_by_role("button", name="Not a disaster").tap()
    page.locator("#disaster").tap()
    context, url = page.context, page.url
    page.close()
    again = context.new_page()
    again.goto(url)
    assert again.locator("#tweet").inner_text() == texts[2].removeprefix("'")
    assert again.get_by_role("status").inner_text().startswith("2 of 8 done, 2 labelled")
    again.get_by_role("button", name="Back").tap()
    assert again.locator("#disaster").get_attribute("aria-pressed") == "true"
    assert saved(again, logged)["target"].tolist() == [0, 1]
