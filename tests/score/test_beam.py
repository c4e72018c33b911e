"""Beam's workers answer as one machine does; killed, they go on."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pyarrow
import pyarrow.parquet as pq
import pytest

from deploy.google import GoogleProject
from deploy.score import job
from tests.conftest import HANG, NOWHERE, ROOT
from tests.gcs import Cloud
from tests.score.conftest import answers, refused, run
from tests.serve.running import wait_until

PYTHON = os.environ.get("BEAM_PYTHON", sys.executable)
TWO = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
FOUND = "import importlib.util as u, sys; sys.exit(u.find_spec('apache_beam') is None)"

pytestmark = pytest.mark.skipif(
    subprocess.run([PYTHON, "-c", FOUND], check=False).returncode != 0,
    reason=f"{PYTHON} has no apache_beam: BEAM_PYTHON names one that has",
)


def start(model: Path, *arguments: object, runner: str = "DirectRunner") -> subprocess.Popen[str]:
    """Score on Beam, in a group of processes of its own."""
    inputs = [word for word in map(str, arguments) if not word.startswith("--")]
    options = [word for word in map(str, arguments) if word.startswith("--")]
    line = [PYTHON, "-m", "score", *inputs, f"--model={model}", "--runner", runner, *options]
    return subprocess.Popen(
        line,
        cwd=ROOT,
        env={**os.environ, "HTTPS_PROXY": NOWHERE, "NO_PROXY": "127.0.0.1,localhost"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_killed_run_goes_on_and_ends_as_on_one_machine(
    model: Path, archive: Path, tmp_path: Path
) -> None:
    (archive / "03.csv").write_text("id,text\nbroken\nbroken\n")
    (archive / "04.csv").write_text("id,text\n1, \nbroken\n2,flood\n")
    table = pyarrow.table({"id": ["a", "b"], "text": ["flood", None], "tags": [["x"], None]})
    pq.write_table(table, archive / "05.csv")
    out = tmp_path / "out"
    killed = start(model, archive, out, *TWO)
    while killed.poll() is None and not list(out.glob("blocks/*.json")):
        time.sleep(0.01)
    killed.kill()
    killed.communicate(timeout=HANG)  # its workers have the pipes too, and end without it
    done = start(model, archive, out, *TWO)
    said, complaints = done.communicate(timeout=HANG)

    whole = run(model, archive, tmp_path / "whole")
    assert whole.returncode == done.returncode == 3, complaints
    assert said == whole.stdout
    assert whole.stderr.splitlines()[-2] in complaints
    assert answers(out) == answers(tmp_path / "whole")
    assert refused(out) == refused(tmp_path / "whole")
    again = run(model, archive, out)  # and one machine goes on where Beam was
    assert again.stdout == said
    assert json.loads((out / "run.json").read_text()) == json.loads(
        (tmp_path / "whole/run.json").read_text()
    )
    assert not list((out / "answers").glob("[!.]*-*-*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_though_no_worker_has_begun(
    model: Path, archive: Path, tmp_path: Path, number: signal.Signals
) -> None:
    stopped = start(model, archive, tmp_path / "out", *TWO)
    worker = ["pgrep", "-g", str(stopped.pid), "-f", "sdk_worker_main"]
    began = partial(subprocess.run, worker, check=False, stdout=subprocess.DEVNULL)
    assert wait_until(lambda: began().returncode == 0)
    stopped.send_signal(number)
    try:
        assert stopped.wait(timeout=HANG) == 128 + number
    finally:
        os.killpg(stopped.pid, signal.SIGKILL)
        stopped.communicate(timeout=HANG)


def test_a_workers_error_is_one_line(model: Path, archive: Path, tmp_path: Path) -> None:
    (archive / "07.csv").write_text("id,tweet\n1,flood\n")
    failed = start(model, archive, tmp_path / "out")
    _, complaints = failed.communicate(timeout=HANG)
    assert failed.returncode == 1
    assert complaints.startswith(f"error: {archive}/07.csv: the header lacks the column text")
    assert "Traceback" not in complaints
    assert complaints.rstrip().endswith("set --text")


def test_a_job_for_dataflow_is_made_without_an_account(
    model: Path, archive: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    bucket = cloud.client().create_bucket("archive")
    bucket.blob("in/00.csv").upload_from_filename(archive / "00.csv")
    runner, *options = job(GoogleProject("my-project"), "image@sha256:1", "gs://archive/out", 3)
    made = start(
        model,
        "gs://archive/in",
        "gs://archive/out",
        *options,
        "--dry_run=True",
        runner=runner,
    )
    said, complaints = made.communicate(timeout=HANG)
    assert made.returncode == 0, complaints
    assert said == "rows 0 = answered 0 (none) + refused 0\n"
    pinned = json.loads(bucket.blob("out/run.json").download_as_bytes())
    assert list(pinned["inputs"]) == ["gs://archive/in/00.csv"]


@pytest.mark.parametrize(
    ("runner", "option", "said"),
    [
        ("DirectRunner", "--machin_type=n2", "Beam has no option machin_type"),
        ("DirektRunner", "--region=x", "--runner DirektRunner: Unexpected pipeline runner"),
        ("DataflowRunner", "--region=x", "00.csv: Dataflow reads and writes gs:// alone"),
    ],
)
def test_a_wrong_call_is_explained(
    model: Path, archive: Path, tmp_path: Path, runner: str, option: str, said: str
) -> None:
    wrong = start(model, archive, tmp_path / "out", option, runner=runner)
    _, complaints = wrong.communicate(timeout=HANG)
    assert wrong.returncode == 1
    assert said in complaints.splitlines()[-1]
    assert not (tmp_path / "out").exists()
