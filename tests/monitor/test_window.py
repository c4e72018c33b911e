"""Which predictions are looked at."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest

from monitor import window
from monitor.window import Log, find, read
from reader.io import InputError
from tests.monitor.conftest import lines_of, tweets, write

TEXTS = [f"tweet {i}" for i in range(2000)]


def log_of(path: Path) -> Log:
    lines = lines_of(tweets(0, 2000), "v1", texts=TEXTS)  # ten minutes each: 13.9 days
    for line in lines[:100]:
        line["hash"] = lines[0]["hash"]
    lines[1900]["id"] = lines[1901]["id"] = "twice"
    lines[1902]["hash"] = lines[1903]["hash"] = None
    return read([str(write(path / "a.jsonl", lines))])[0]


def test_days(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    last = log.days(None, None)
    assert last.times.min() == np.datetime64("2026-11-28T00:00")
    assert last.times.max() == log.times.max() == np.datetime64("2026-12-04T03:10")
    one = log.days(date(2026, 11, 21), date(2026, 11, 21))
    assert len(one) == 144
    assert one.texts.loc[0] == "tweet 108"
    with pytest.raises(InputError, match="has them from 2026-11-20 to 2026-12-0"):
        log.days(date(2030, 1, 1), date(2030, 1, 2))
    with pytest.raises(InputError, match="--since 2026-11-30 is later than --until 2026-11-29"):
        log.days(date(2026, 11, 30), date(2026, 11, 29))


def test_a_tweet_counts_once(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    once = log.distinct()
    assert len(once) == 2000 - 99
    assert once.texts.loc[1] == "tweet 100"


def test_an_id_that_came_twice_is_of_no_prediction(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    assert log.rows(["twice", "r-5"]).tolist() == [-1, 5]


def test_texts_are_found_again(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    found = find([str(tmp_path)], log.ids[[7, 3]])
    assert found["id"].tolist() == ["r-7", "r-3"]
    assert found["text"].tolist() == ["tweet 7", "tweet 3"]


def test_texts_kept_are_bounded_and_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "TEXTS", 50)
    monkeypatch.setattr("monitor.logs.BLOCK", 50_000)
    log = log_of(tmp_path)
    assert len(log.texts) == 50
    assert all(text == f"tweet {row}" for row, text in log.texts.items())
    assert 500 < log.texts.index.to_numpy().mean() < 1500  # from all of the log
