"""Checkpoints: whole or absent, the newest one taken, and only by the very same run."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import InputError
from stages.train import checkpoints
from stages.train.checkpoints import Checkpoints, recorded_signals
from tests.conftest import no_file_beyond


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data.parquet").write_bytes(b"tweets")
    return tmp_path / "data.parquet"


@pytest.fixture
def store(tmp_path: Path, data: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "place", {"lr": 1e-5}, [data])


def state(number: int) -> dict[str, Any]:
    rows = [(1, {"a": 2.0})]
    return {"number": number, "weights": torch.full((1000,), float(number)), "rows": rows}


def test_the_newest_comes_back_and_those_of_this_run_go(
    store: Checkpoints, tmp_path: Path, data: Path
) -> None:
    other = Checkpoints(tmp_path / "place", {"lr": 2e-5}, [data])
    other.save(1, state(1))
    assert store.load() is None
    for step in (5, 100, 20_000):
        assert store.save(step, state(step))
    assert len(list(store.folder.iterdir())) == 1
    loaded = store.load() or {}
    assert (loaded["number"], loaded["rows"]) == (20_000, [(1, {"a": 2.0})])
    assert torch.equal(loaded["weights"], torch.full((1000,), 20_000.0))
    (store.folder / ".1.tmp").write_bytes(b"half a checkpoint")  # of a process that was killed
    store.clear()
    assert [*(tmp_path / "place").iterdir()] == [other.folder]
    assert other.load() is not None


@pytest.mark.parametrize("content", [b"", b"\0" * 5000])
def test_a_damaged_one_is_named(store: Checkpoints, content: bytes) -> None:
    store.save(1, state(1))
    (path,) = store.folder.iterdir()
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{path} is damaged; remove it"):
        store.load()


def test_what_cannot_be_written_does_no_harm(
    store: Checkpoints, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store.save(1, state(1))
    with no_file_beyond(2000):  # as on a full disk
        assert not store.save(2, state(2))
    assert "step 2 could not be written" in capsys.readouterr().err
    assert [path.name[:9] for path in store.folder.iterdir()] == ["000000001"]
    assert (store.load() or {})["number"] == 1
    within_a_file = Checkpoints(data, {}, [data])
    assert not within_a_file.save(1, state(1))
    within_a_file.clear()
    assert data.read_bytes() == b"tweets"


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
    modules = checkpoints._own_modules()
    assert {"stages/train/checkpoints.py", "locked/text.py"} <= modules.keys()
    assert all(name.startswith(("stages/", "locked/", "reader/")) for name in modules)


def test_signals_are_noted_and_put_back() -> None:
    """The handlers are called: a real signal would overflow the stack of pytest's fault handler."""
    numbers = signal.SIGTERM, signal.SIGINT
    before = [signal.getsignal(number) for number in numbers]
    with recorded_signals() as received:
        for number in numbers:
            handler = signal.getsignal(number)
            assert callable(handler)
            handler(number, None)
    assert received == [*numbers]
    assert [signal.getsignal(number) for number in numbers] == before
