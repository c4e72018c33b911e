"""Figures by step: the same files whether resumed or not, and Weights & Biases beside them."""

import os
import subprocess
import sys
from pathlib import Path

from stages.params import Params
from stages.train.training_log import SPEED, TrainingLog
from tests.conftest import HANG, NOWHERE, ROOT, Project


def files(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def log(to: TrainingLog, steps: range) -> None:
    for step in steps:
        to.log(step, {"train/loss": 1 / step, SPEED: 100.0 + step})
        if step % 3 == 0:
            to.log(step, {"validation/loss": 2 / step})


def test_a_resumed_run_leaves_the_same_files(p: Params, tmp_path: Path) -> None:
    with TrainingLog(tmp_path / "whole/training", p) as whole:
        log(whole, range(1, 9))
        whole.summarise({"best_loss": 0.5}, "0" * 64)
    with TrainingLog(tmp_path / "first/training", p) as first:
        log(first, range(1, 6))
    with TrainingLog(tmp_path / "second/training", p, state=first.state()) as second:
        log(second, range(6, 9))
        second.summarise({"best_loss": 0.5}, "0" * 64)
    assert files(tmp_path / "second") == files(tmp_path / "whole")
    curves = {"training/plots/metrics/validation/loss.tsv", f"speed/plots/metrics/{SPEED}.tsv"}
    assert curves <= files(tmp_path / "whole").keys()


def test_of_several_processes_one_writes(p: Params, tmp_path: Path) -> None:
    with TrainingLog(tmp_path / "training", p, is_on=False) as off:
        log(off, range(1, 4))
    assert files(tmp_path) == {}


SCRIPT = """
import os, sys, time
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
    os.environ["WANDB_API_KEY"] = "0" * 40  # for the second part
    time.sleep(1.1)  # W&B names a part by its second
print(state["wandb"])
"""


def test_wandb_has_the_curves_under_one_id_without_key_and_without_network(
    pipeline: Project, tmp_path: Path
) -> None:
    for name in ("elsewhere", "models"):
        (tmp_path / name).mkdir()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("WANDB")},
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
        env=environment,
        text=True,
        capture_output=True,
        timeout=HANG,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("logging to W&B offline, because") == 1, (
        "there is a key, no network"
    )
    run_id = process.stdout.split()[-1]
    parts = sorted((tmp_path / "models/wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb"))
    assert len(parts) == 2, "a part before and one after the resume, of one id"
    for part, steps in zip(parts, (3, 2), strict=True):
        content = part.read_bytes()
        assert content.count(b"train/loss") == 2 * steps, "in the history and in the summary"
        for words in (SPEED, "weights_sha256", "f" * 64, '"lr"', "slower", "cpu"):
            assert words.encode() in content
