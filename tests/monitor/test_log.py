"""Which predictions are looked at."""

from datetime import date
from pathlib import Path

import pytest

from common.errors import InputError
from locked.features import FEATURES
from monitor.log import Log, read
from tests.monitor.conftest import lines_of, tweets, write

TEXTS = [f"tweet {i}" for i in range(2000)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two weeks in many blocks, a tweet every ten minutes."""
    monkeypatch.setattr("monitor.records.BLOCK", 50_000)
    lines = lines_of(tweets(0, 2000), "v1", texts=TEXTS)
    for line in lines[:100]:
        line["hash"] = lines[0]["hash"]
    lines[1900]["id"] = lines[1901]["id"] = "twice"
    lines[1902]["hash"] = lines[1903]["hash"] = None
    for line in lines[1000:1100:2]:
        line["model"] = "v2"
    write(tmp_path / "a.jsonl", lines)
    return str(tmp_path)


@pytest.fixture
def log(folder: str) -> Log:
    """All days of one version."""
    return read([folder], "v1", date(2025, 11, 1))[0]


def test_the_last_week_and_days_that_are_named(folder: str) -> None:
    log, lines = read([folder], "v1")
    assert log.others == {}  # the other version is of the week before
    times = log.table["time"]
    assert f"{times.min():%m-%d %H:%M}, {times.max():%m-%d %H:%M}" == "11-28 00:00, 12-04 03:10"
    assert len(log) == 884
    assert lines.read == 2000
    day = date(2025, 11, 27)
    log, _ = read([folder], "v1", day, day)
    assert (len(log), log.others) == (94, {"v2": 50})
    assert f"{log.table['time'].min():%m-%d %H:%M}" == "11-27 00:00"
    for since, until, message in (
        (date(2030, 1, 1), date(2030, 1, 2), "has them from 2025-11-20 to 2025-12-04"),
        (date(2025, 11, 30), date(2025, 11, 29), "--since 2025-11-30 is later than --until"),
        (None, None, "the log is of model v1, not of v2: name the model's folder"),
    ):
        with pytest.raises(InputError, match=message):
            read([folder], "v2", since, until)


def test_columns_stay_together(log: Log) -> None:
    live, numbers = tweets(0, 2000), [3, 999, 1001, 1999]
    rows = log.find_ids([f"r-{i}" for i in numbers])
    table = log.table.loc[rows]
    assert table["probability"].to_numpy() == pytest.approx(live.probabilities[numbers])
    assert table["disaster"].tolist() == live.disaster[numbers].tolist()
    assert table[[*FEATURES]].to_numpy() == pytest.approx(live.features[numbers])
    assert log.table["time"].is_monotonic_increasing
    assert log.texts[rows].tolist() == [f"tweet {i}" for i in numbers]
    assert log.find_texts(["Tweet 3!", "no tweet"]).tolist() == [3, -1]
    assert len(log.distinct) == 1950 - 99
    assert log.distinct.index[:3].tolist() == [0, 100, 101]
    assert log.positions[[0, 99, 100, 101]].tolist() == [0, 0, 1, 2]


def test_one_request_id_for_many_answers(folder: str, log: Log) -> None:
    assert log.find_ids(["twice", "r-5", "r-1000"]).tolist() == [-1, 5, -1]
    assert log.find_ids([]).tolist() == []
    ids = [name for name in log.table["id"] if name.startswith("twice~")]
    assert len(set(ids)) == 2
    assert (log.find_ids(ids) >= 0).all()
    last_day, _ = read([folder], "v1", date(2025, 12, 3))  # other days, the same ids
    assert (last_day.find_ids(ids) >= 0).all()


def test_a_line_that_was_delivered_twice_counts_once(folder: str) -> None:
    (Path(folder) / "again.jsonl").write_text((Path(folder) / "a.jsonl").read_text())
    log, lines = read([folder], "v1", date(2025, 11, 1))
    assert lines.duplicates == 2000
    assert (len(log), log.others) == (1950, {"v2": 50})
    assert log.find_ids(["r-5"]).tolist() == [5]
