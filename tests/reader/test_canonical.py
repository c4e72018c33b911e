"""Which texts are the same tweet."""

import pyarrow

from reader.canonical import canonical_texts, is_cut

SAME = [
    "RT @user: flood at gate 7, run!",
    "rt @user flood at gate 7, run! via @other",
    "“flood at gate 7, run!” https://t.example/x",
    "⚠️ flood at gate 7, run! ❤️",
    "fl\u200bood at\u00a0gate   7, run\ufeff",
    "\uff46\uff4c\uff4f\uff4f\uff44 at gate \uff17, run",
    "flood at gate 7 &amp; run",
    "FLOOD at gate #7, run…",
]


def test_the_same_tweet_and_others() -> None:
    assert canonical_texts(SAME) == ["flood at gate 7 run"] * len(SAME)
    texts = ["flood at gate 8, run!", "art @user flood at gate 7, run", "कि", "क"]
    texts += ["https://t.example/a", "?!", "@you"]  # nothing else is left of these
    others = ["flood at gate 8 run", "art flood at gate 7 run", *texts[2:]]
    assert canonical_texts(texts) == others


def test_a_cut_tweet() -> None:
    texts = ["smoke over the mi…", "smoke over the mi... https://t.example/x", "so ...", "smoke"]
    assert is_cut(pyarrow.array(texts)).to_pylist() == [True, True, False, False]
