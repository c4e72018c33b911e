"""What makes another tweet, and what does not."""

import pyarrow
import pytest

from reader.canonical import canonical, is_cut

SAME = [
    "flood at gate 7, run!",
    "RT @user: flood at gate 7, run!",
    "rt @user flood at gate 7, run! via @other",
    "“flood at gate 7, run!” https://t.example/x",
    "⚠️ flood at gate 7, run! ❤️",
    "fl\u200bood at\u00a0gate   7, run\ufeff",
    "\uff46\uff4c\uff4f\uff4f\uff44 at gate \uff17, run",
    "flood at gate 7 &amp; run",
    "FLOOD at gate #7, run…",
]


def read(text: str) -> str:
    value: str = canonical(pyarrow.array([text]))[0].as_py()
    return value


@pytest.mark.parametrize("text", SAME)
def test_how_it_is_passed_on_makes_no_other_tweet(text: str) -> None:
    assert read(text) == "flood at gate 7 run"


@pytest.mark.parametrize("text", ["flood at gate 8, run!", "art @user flood at gate 7, run", "कि"])
def test_other_words_do(text: str) -> None:
    assert read(text) != "flood at gate 7 run"


def test_marks_of_other_scripts_are_part_of_a_word() -> None:
    assert read("कि") != read("क")


def test_a_text_of_nothing_else_reads_as_itself() -> None:
    assert [read(text) for text in ("https://t.example/a", "?!", "@you")] == [
        "https://t.example/a",
        "?!",
        "@you",
    ]


def test_a_cut_is_seen() -> None:
    texts = ["smoke over the mi…", "smoke over the mi... https://t.example/x", "so ...", "smoke"]
    assert is_cut(pyarrow.array(texts)).to_pylist() == [True, True, False, False]
