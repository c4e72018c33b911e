"""Which texts are the same tweet."""

import pyarrow
import pytest

from reader.canonical import canonical_texts, is_cut


@pytest.mark.parametrize(
    "text",
    [
        "flood at gate 7, run!",
        "RT @user: flood at gate 7, run!",
        "rt @user flood at gate 7, run! via @other",
        "“flood at gate 7, run!” https://t.example/x",
        "⚠️ flood at gate 7, run! ❤️",
        "fl\u200bood at\u00a0gate   7, run\ufeff",
        "\uff46\uff4c\uff4f\uff4f\uff44 at gate \uff17, run",
        "flood at gate 7 &amp; run",
        "FLOOD at gate #7, run…",
    ],
)
def test_the_same_tweet(text: str) -> None:
    assert canonical_texts([text]) == ["flood at gate 7 run"]


def test_another_tweet() -> None:
    texts = ["flood at gate 8, run!", "art @user flood at gate 7, run", "कि", "क"]
    texts += ["https://t.example/a", "?!", "@you"]  # nothing else is left of these
    assert canonical_texts(texts) == [
        "flood at gate 8 run",
        "art flood at gate 7 run",
        *texts[2:],
    ]


def test_a_cut_tweet() -> None:
    texts = ["smoke over the mi…", "smoke over the mi... https://t.example/x", "so ...", "smoke"]
    assert is_cut(pyarrow.array(texts)).to_pylist() == [True, True, False, False]
