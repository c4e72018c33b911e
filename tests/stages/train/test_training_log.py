"""Figures by step: the same files whether resumed or not, and Weights & Biases beside them."""

import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages import params
from stages.params import Params
from stages.train.training_log import SPEED, TrainingLog
from tests.conftest import HANG, NOWHERE, ROOT, Project


@pytest.fixture
def p(pipeline: Project) -> Params:
    return params.load(pipeline.folder / "params.yaml")


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
    (tmp_path / "elsewhere/models").mkdir(parents=True)
    (tmp_path / "models").mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(pipeline.folder / "params.yaml")],
        cwd=tmp_path / "elsewhere",  # as `dvc exp run --temp` has it
        env=environment
        | {
            "DVC_ROOT": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "HOME": str(tmp_path),
            "HTTPS_PROXY": NOWHERE,
            "WANDB_HTTP_TIMEOUT": "2",  # seconds; 10 else
            "DVC_EXP_NAME": "slower",
            **key,
        },
        text=True,
        capture_output=True,
        timeout=HANG,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run_id = done.stdout.split()[-1]
    runs = sorted((tmp_path / "models/wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb"))
    assert len(runs) == 2, "a part before and one after the resume, of one id"
    logged: list[dict[str, str]] = []
    for path in runs:
        for record in records(path):
            if record.HasField("history"):
                items = record.history.item
                logged.append({i.key or "/".join(i.nested_key): i.value_json for i in items})
    losses = [(row["step"], row["train/loss"]) for row in logged if "train/loss" in row]
    assert [step for step, _ in losses] == ["1", "2", "3", "4", "5"]
    assert losses[1][1] == "0.5"
    speeds = [float(row["tweets_per_second"]) for row in logged if "tweets_per_second" in row]
    assert speeds == [100] * 5
    config = {
        item.key: item.value_json
        for path in runs
        for record in records(path)
        if record.HasField("run")
        for item in record.run.config.update
    }
    assert '"lr"' in config["train"]
    started = [r.run for path in runs for r in records(path) if r.HasField("run")]
    assert {(run.display_name, run.job_type) for run in started} == {("slower", "train")}
    stats = [r for path in runs for r in records(path) if r.HasField("stats")]
    assert stats, "figures of the machine"
    updates = [r.summary.update for path in runs for r in records(path) if r.HasField("summary")]
    summaries = {item.key: item.value_json for update in updates for item in update}
    assert summaries["weights_sha256"] == f'"{"f" * 64}"'
