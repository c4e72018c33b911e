"""What scoring is tried on."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from locked.classifier import Classifier
from tests.conftest import HANG, ROOT, Project

Rows = list[dict[str, object]]
READERS = {"parquet": pq.read_table, "csv": pyarrow.csv.read_csv, "jsonl": pyarrow.json.read_json}


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
    chance = random.Random(1)  # noqa: S311 - a fixed sample, not a secret
    (folder := tmp_path / "archive").mkdir()
    for number in range(12):
        texts = [f"flood at gate {chance.randrange(50)}, run {number}" for _ in range(40)]
        lines = [f'{number}-{i},"{text}"' for i, text in enumerate(texts)]
        (folder / f"{number:02}.csv").write_text("\n".join(["id,text", *lines, ""]))
    return folder


def command(model: Path, *arguments: object) -> list[str]:
    common = ["--model", str(model), "--threads", "1"]
    return [sys.executable, "-m", "score", *map(str, arguments), *common]


def run(model: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Score in a process of its own."""
    return subprocess.run(
        command(model, *arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )


def answers(folder: Path) -> Rows:
    """Return all answers, in the order of their blocks."""
    rows: Rows = []
    for file in sorted((folder / "answers").glob("[!.]*")):  # a kill leaves drafts
        rows += READERS[file.suffix[1:]](str(file)).to_pylist()
    return rows


def refused(folder: Path) -> Rows:
    return [json.loads(line) for line in (folder / "refused.jsonl").read_text().splitlines()]
