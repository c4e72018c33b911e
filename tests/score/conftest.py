"""Inputs of scoring, and how the tests call it."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from locked.classifier import Classifier
from score.__main__ import main
from tests.conftest import ROOT, Project, exit_status

Rows = list[dict[str, object]]
Result = subprocess.CompletedProcess[str]
Score = Callable[..., Result]


@pytest.fixture(scope="session")
def model(pipeline: Project) -> Path:
    """The locked model."""
    return pipeline.folder / "models/classifier"


@pytest.fixture(scope="session")
def classifier(model: Path) -> Classifier:
    return Classifier(model, threads=1)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A folder of twelve files, each a block, of texts that repeat now and then."""
    (folder := tmp_path / "archive").mkdir()
    for number in range(12):
        rows = [f'{number}-{i},"flood at gate {i * i % 50}, run {number}"\n' for i in range(40)]
        (folder / f"{number:02}.csv").write_text("id,text\n" + "".join(rows))
    return folder


@pytest.fixture
def score(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Score]:
    """Run `python -m score` in this process, and check its status."""

    def call(*arguments: object, status: int = 0) -> Result:
        monkeypatch.setattr(sys, "argv", command(model, *arguments)[2:])
        code, message = exit_status(main)
        out, err = capfd.readouterr()
        assert code == status, err + message
        return Result(sys.argv, status, out, err + message)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


def command(model: Path, *arguments: object) -> list[str]:
    common = [f"--model={model}", "--threads=1"]  # later options replace these
    return [sys.executable, "-m", "score", *common, *map(str, arguments)]


def start(model: Path, *arguments: object) -> subprocess.Popen[str]:
    """Score in a process of its own."""
    return subprocess.Popen(command(model, *arguments), cwd=ROOT, stderr=subprocess.PIPE, text=True)


def answers(folder: Path) -> Rows:
    """Return all answers, in the order of their blocks."""
    rows: Rows = []
    for file in sorted((folder / "answers").glob("[!.]*")):  # a kill leaves drafts
        rows += pq.read_table(file).to_pylist()
    return rows


def refused(folder: Path) -> Rows:
    return [json.loads(line) for line in (folder / "refused.jsonl").read_text().splitlines()]


def blocks(folder: Path) -> int:
    return len(list((folder / "blocks").glob("*.json")))
