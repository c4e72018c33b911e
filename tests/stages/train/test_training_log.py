"""Figures by step: the same files whether resumed or not, and Weights & Biases beside them."""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.params import Params
from stages.train.training_log import SPEED, TrainingLog
from tests.conftest import HANG, NOWHERE, ROOT, Project


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def log(to: TrainingLog, steps: range) -> None:
    for step in steps:
        figures = {"train/loss": 1 / step, "train/learning_rate": step * 1e-5, SPEED: 100.0 + step}
        to.log(step, figures)
        if step % 3 == 0:
            to.log(step, {"validation/loss": 2 / step})


def test_a_resumed_run_leaves_the_same_files(p: Params, tmp_path: Path) -> None:
    with TrainingLog(tmp_path / "whole/training", p) as whole:
        log(whole, range(1, 9))
        whole.summarise({"best_loss": 0.5}, "0" * 64)
    with TrainingLog(tmp_path / "first/training", p) as first:
        log(first, range(1, 6))
        state = first.state()
    with TrainingLog(tmp_path / "second/training", p, state=state) as second:
        log(second, range(6, 9))
        second.summarise({"best_loss": 0.5}, "0" * 64)
    assert files(tmp_path / "second") == files(tmp_path / "whole")
    assert "training/plots/metrics/validation/loss.tsv" in files(tmp_path / "whole")
    assert "speed/plots/metrics/tweets_per_second.tsv" in files(tmp_path / "whole")


def test_of_several_processes_one_writes(p: Params, tmp_path: Path) -> None:
    with TrainingLog(tmp_path / "training", p, is_on=False) as off:
        log(off, range(1, 4))
    assert files(tmp_path) == {}


SCRIPT = """
import sys
import time
from pathlib import Path
from stages import params
from stages.train.training_log import SPEED, TrainingLog

p = params.load(Path(sys.argv[1]))
p = p.model_copy(update={"runtime": p.runtime.model_copy(update={"wandb": "tweets"})})
state = None
for steps in (range(1, 4), range(4, 6)):
    with TrainingLog(Path("models/training"), p, state=state) as log:
        for step in steps:
            log.log(step, {"train/loss": 1 / step, SPEED: 100.0})
        log.summarise({"best_loss": 0.25}, "f" * 64)
        state = log.state()
    time.sleep(1.1)  # W&B names a part by its second
print(state["wandb"])
"""


def records(path: Path) -> Iterator[Any]:
    """Read the records of an offline run's file: LevelDB's log format, after 7 bytes of header."""
    from wandb.proto import wandb_internal_pb2

    log, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(log):
        if (left := 32_768 - at % 32_768) < 7:  # no part begins so near the end of a block
            at += left
            continue
        length, kind = struct.unpack_from("<HB", log, at + 4)
        record += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            parsed = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
            parsed.ParseFromString(record)
            yield parsed
            record = b""


@pytest.mark.parametrize("key", [{}, {"WANDB_API_KEY": "0" * 40}], ids=["no key", "no network"])
def test_wandb_has_the_curves_offline_under_one_id(
    pipeline: Project, tmp_path: Path, key: dict[str, str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "models").mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment |= {
        "DVC_ROOT": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "HTTPS_PROXY": NOWHERE,
        "WANDB_HTTP_TIMEOUT": "2",  # seconds; 10 else
        "DVC_EXP_NAME": "slower",
    }
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(pipeline.folder / "params.yaml")],
        cwd=tmp_path / "elsewhere",  # as `dvc exp run --temp` has it
        env=environment | key,
        text=True,
        capture_output=True,
        timeout=HANG,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    run_id = process.stdout.split()[-1]
    parts = sorted((tmp_path / "models/wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb"))
    assert len(parts) == 2, "a part before and one after the resume, of one id"
    logged = [record for part in parts for record in records(part)]

    def items(kind: str, field: str) -> list[dict[str, str]]:
        lists = [getattr(getattr(r, kind), field) for r in logged if r.HasField(kind)]
        return [{i.key or "/".join(i.nested_key): i.value_json for i in each} for each in lists]

    history = items("history", "item")
    losses = {row["step"]: row["train/loss"] for row in history if "train/loss" in row}
    assert list(losses) == ["1", "2", "3", "4", "5"]
    assert losses["2"] == "0.5"
    assert {row[SPEED] for row in history if SPEED in row} == {"100"}
    summary = {k: v for update in items("summary", "update") for k, v in update.items()}
    assert summary["weights_sha256"] == f'"{"f" * 64}"'
    runs = [record.run for record in logged if record.HasField("run")]
    assert {(run.display_name, run.job_type) for run in runs} == {("slower", "train")}
    assert any('"lr"' in item.value_json for item in runs[0].config.update)
    assert any(record.HasField("stats") for record in logged), "figures of the machine"
