"""Commands do what was meant, or name the right one."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow
import pytest

from monitor import logs, window
from monitor.logs import Lines
from tests.conftest import ROOT
from tests.monitor.conftest import Place, command, tweets, write


@pytest.mark.parametrize(
    ("module", "right"),
    [
        ("monitor.review", "monitor review"),
        ("monitor.harvest", "monitor harvest"),
        ("monitor.logs", "monitor"),
    ],
)
def test_a_module_that_is_no_command_names_the_command(module: str, right: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "logs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"The command is: python -m {right}\n")


@pytest.mark.parametrize("name", ["report", "review", "harvest"])
def test_logs_are_read_once(place: Place, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = place.log(tweets(3, 300), texts=[f"tweet number {i}" for i in range(300)])
    scans: list[list[str]] = []

    def counted(places: list[str], lines: Lines) -> Iterator[pyarrow.Table]:
        scans.append(places)
        return logs.scan(places, lines)

    monkeypatch.setattr(window, "scan", counted)
    labels = [{"id": row["id"], "label": "1", "drawn": "random"} for row in rows[:20]]
    reviewed = write(place.folder / "labels.jsonl", labels)
    prepared = _prepared(place.folder / "prepared")
    more = [] if name == "review" else ["--reviewed", reviewed, "--prepared", prepared]
    output = place.folder / "output"
    status, said = command(name, place.logs, "--model", place.model, "--output", output, *more)
    assert status != 1, said
    assert scans == [[str(place.logs)]]


def _prepared(folder: Path) -> Path:
    folder.mkdir()
    for split in ("train", "validation", "test"):
        pd.DataFrame({"text": ["another"]}).to_parquet(folder / f"{split}.parquet")
    return folder
