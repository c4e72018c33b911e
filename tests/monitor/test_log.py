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
    return read([folder], date(2025, 11, 1))[0]["v1"]


def test_the_last_week_and_days_that_are_named(folder: str) -> None:
    logs, lines = read([folder])
    assert logs.keys() == {"v1"}  # the other is of the week before
    times = logs["v1"].table["time"]
    assert f"{times.min():%m-%d %H:%M}, {times.max():%m-%d %H:%M}" == "11-28 00:00, 12-04 03:10"
    assert len(logs["v1"]) == 884
    assert lines.read == 2000
    day = date(2025, 11, 27)
    logs, _ = read([folder], day, day)
    assert [len(log) for log in logs.values()] == [94, 50]
    assert f"{logs['v1'].table['time'].min():%m-%d %H:%M}" == "11-27 00:00"
    with pytest.raises(InputError, match="has them from 2025-11-20 to 2025-12-04"):
        read([folder], date(2030, 1, 1), date(2030, 1, 2))
    with pytest.raises(InputError, match="--since 2025-11-30 is later than --until 2025-11-29"):
        read([folder], date(2025, 11, 30), date(2025, 11, 29))


def test_columns_stay_together(log: Log) -> None:
    live, numbers = tweets(0, 2000), [3, 999, 1001, 1999]
    rows = log.find_rows([f"r-{i}" for i in numbers])
    assert log.probabilities[rows] == pytest.approx(live.probabilities[numbers])
    assert log.disaster[rows].tolist() == live.disaster[numbers].tolist()
    features = log.table.loc[rows, [*FEATURES]].to_numpy()
    assert features == pytest.approx(live.features[numbers])
    assert log.table["time"].is_monotonic_increasing
    assert log.texts[rows].tolist() == [f"tweet {i}" for i in numbers]
    once = log.distinct_rows()  # each tweet
    assert len(once) == 1950 - 99
    assert once[:3].tolist() == [0, 100, 101]


def test_one_request_id_for_many_answers(folder: str, log: Log) -> None:
    assert log.find_rows(["twice", "r-5", "r-1000"]).tolist() == [-1, 5, -1]
    assert log.find_rows([]).tolist() == []
    ids = [name for name in log.table["id"] if name.startswith("twice~")]
    assert len(set(ids)) == 2
    assert (log.find_rows(ids) >= 0).all()
    last_day = read([folder], date(2025, 12, 3))[0]["v1"]  # other days, the same ids
    assert (last_day.find_rows(ids) >= 0).all()


def test_a_line_that_was_delivered_twice_counts_once(folder: str) -> None:
    (Path(folder) / "again.jsonl").write_text((Path(folder) / "a.jsonl").read_text())
    logs, lines = read([folder], date(2025, 11, 1))
    assert lines.duplicates == 2000
    assert [len(log) for log in logs.values()] == [1950, 50]
    assert logs["v1"].find_rows(["r-5"]).tolist() == [5]
