"""Checkpoints: whole or absent, the newest sound one taken, and only by the very same run."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stages.train import checkpoints
from stages.train.checkpoints import KEPT, Checkpoints
from tests.conftest import no_file_beyond


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.parquet"
    path.write_bytes(b"tweets")
    return path


@pytest.fixture
def store(tmp_path: Path, data: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "place", {"lr": 1e-5}, [data])


def state(number: int) -> dict[str, Any]:
    rows = [(1, {"a": 2.0})]
    return {"number": number, "weights": torch.full((1000,), float(number)), "rows": rows}


def test_the_newest_comes_back_and_old_ones_go(store: Checkpoints) -> None:
    assert store.load() is None
    for step in (5, 100, 20_000):
        assert store.save(step, state(step))
    assert len(list(store.folder.iterdir())) == KEPT
    loaded = store.load()
    assert loaded is not None
    assert (loaded["number"], loaded["rows"]) == (20_000, [(1, {"a": 2.0})])
    assert torch.equal(loaded["weights"], torch.full((1000,), 20_000.0))


@pytest.mark.parametrize("spoil", ["cut", "flip", "empty"])
def test_a_torn_one_is_left_aside_for_the_one_before(
    store: Checkpoints, capsys: pytest.CaptureFixture[str], spoil: str
) -> None:
    store.save(1, state(1))
    store.save(2, state(2))
    newest = max(store.folder.iterdir())
    whole = newest.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    newest.write_bytes({"cut": whole[:middle], "flip": flipped, "empty": b""}[spoil])
    loaded = store.load()
    assert loaded is not None
    assert loaded["number"] == 1
    assert f"{newest} is torn" in capsys.readouterr().err
    for path in store.folder.iterdir():
        path.write_bytes(b"")
    assert store.load() is None
    store.save(1, state(3))  # torn ones, although of a later step, do not push it out
    assert (store.load() or {})["number"] == 3


def test_a_place_that_is_no_folder_is_said_and_does_no_harm(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Checkpoints(data, {}, [data])
    assert not store.save(1, state(1))
    assert "could not be written" in capsys.readouterr().err
    store.clear()
    assert data.read_bytes() == b"tweets"


def test_a_full_disk_leaves_the_one_before(
    store: Checkpoints, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store.save(1, state(1))
    with no_file_beyond(2000):
        assert not store.save(2, state(2))
    assert "step 2 could not be written" in capsys.readouterr().err
    assert [path.name[:9] for path in store.folder.iterdir()] == ["000000001"]
    assert (store.load() or {})["number"] == 1


def test_another_input_file_code_or_library_is_another_run(
    store: Checkpoints, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(1, state(1))

    def resumed(rate: float = 1e-5) -> bool:
        return Checkpoints(tmp_path / "place", {"lr": rate}, [data]).load() is not None

    assert resumed()
    assert not resumed(2e-5)
    for name, value in (("version", lambda _: "0"), ("_own_modules", lambda: {"stages/x": data})):
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, name, value)
            assert not resumed()
    data.write_bytes(b"other tweets")
    assert not resumed()


def test_the_loaded_modules_of_the_project_count() -> None:
    modules = checkpoints._own_modules()
    assert {"stages/train/checkpoints.py", "locked/text.py"} <= modules.keys()
    assert all(name.startswith(("stages/", "locked/", "reader/")) for name in modules)


def test_clearing_takes_the_checkpoints_of_this_run_alone(
    store: Checkpoints, tmp_path: Path, data: Path
) -> None:
    other = Checkpoints(tmp_path / "place", {"lr": 2e-5}, [data])
    for run in (store, other):
        run.save(1, state(1))
    (store.folder / ".1.tmp").write_bytes(b"half a checkpoint")  # of a process that was killed
    store.clear()
    assert [*(tmp_path / "place").iterdir()] == [other.folder]
    assert other.load() is not None


def test_signals_are_noted_and_put_back() -> None:
    # In a process of its own: the small signal stack that pytest's fault handler sets up does not
    # hold the wide registers that OpenVINO has switched on by now, so a signal here would crash.
    program = """
import signal
from stages.train.checkpoints import recorded_signals
before = signal.getsignal(signal.SIGTERM)
with recorded_signals() as received:
    assert received == []
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert received == [signal.SIGTERM, signal.SIGINT]
assert signal.getsignal(signal.SIGTERM) == before
"""
    subprocess.run([sys.executable, "-c", program], check=True)
