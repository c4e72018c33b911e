"""Beam's workers answer as one machine does; after a kill, they continue."""

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pyarrow
import pyarrow.parquet as pq
import pytest

from deploy.google import GoogleProject
from deploy.score import make_options
from tests.conftest import HANG, NOWHERE, ROOT
from tests.gcs import Cloud
from tests.score.conftest import Result, Score, answers, blocks, command, refused
from tests.serve.running import wait_until

PYTHON = os.environ.get("BEAM_PYTHON", sys.executable)
TWO = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
LOCAL = ("--runner", "DirectRunner", *TWO)
IS_MISSING = "import importlib.util as u, sys; sys.exit(u.find_spec('apache_beam') is None)"

pytestmark = pytest.mark.skipif(
    subprocess.run([PYTHON, "-c", IS_MISSING], check=False).returncode != 0,
    reason=f"{PYTHON} has no apache_beam",
)


def start(model: Path, *arguments: object) -> subprocess.Popen[str]:
    """Score on Beam, in a group of processes of its own; the proxy has no answer."""
    line = [PYTHON, *command(model, *arguments)[1:]]
    hidden = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return subprocess.Popen(
        line,
        cwd=ROOT,
        env={**hidden, "http_proxy": NOWHERE, "https_proxy": NOWHERE},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(model: Path, *arguments: object) -> Result:
    process = start(model, *arguments)
    out, err = process.communicate(timeout=HANG)
    return Result(process.args, process.returncode, out, err)


def test_a_killed_run_goes_on_and_ends_as_on_one_machine(
    score: Score, model: Path, archive: Path, tmp_path: Path
) -> None:
    (archive / "03.csv").write_text("id,text\nbroken\nbroken\n")
    (archive / "04.csv").write_text("id,text\n1, \nbroken\n2,flood\n")
    table = pyarrow.table({"id": ["a", "b"], "text": ["flood", None], "tags": [["x"], None]})
    pq.write_table(table, archive / "05.csv")
    out = tmp_path / "out"
    killed = start(model, archive, out, *LOCAL)
    assert wait_until(lambda: killed.poll() is not None or blocks(out) > 0)
    killed.kill()
    killed.communicate(timeout=HANG)  # its workers have the pipes too, and end without it
    result = run(model, archive, out, *LOCAL)
    whole = score(archive, tmp_path / "whole", status=3)
    assert result.returncode == 3, result.stderr
    assert result.stdout == whole.stdout
    assert whole.stderr.splitlines()[-2] in result.stderr
    assert answers(out) == answers(tmp_path / "whole")
    assert refused(out) == refused(tmp_path / "whole")
    continued = score(archive, out, status=3)  # one machine continues Beam's run
    assert continued.stdout == result.stdout
    assert (out / "run.json").read_bytes() == (tmp_path / "whole/run.json").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_though_no_worker_has_begun(
    model: Path, archive: Path, tmp_path: Path, number: signal.Signals
) -> None:
    stopped = start(model, archive, tmp_path / "out", *LOCAL)
    worker = ["pgrep", "-g", str(stopped.pid), "-f", "sdk_worker_main"]
    began = partial(subprocess.run, worker, check=False, stdout=subprocess.DEVNULL)
    assert wait_until(lambda: began().returncode == 0)
    stopped.send_signal(number)
    try:
        assert stopped.wait(timeout=HANG) == 128 + number
    finally:
        os.killpg(stopped.pid, signal.SIGKILL)
        stopped.communicate(timeout=HANG)


def test_a_job_for_dataflow_is_made_without_an_account(
    model: Path, archive: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
    bucket = cloud.client().create_bucket("archive")
    bucket.blob("in/00.csv").upload_from_filename(archive / "00.csv")
    options = make_options(GoogleProject("my-project"), "image@sha256:1", "gs://archive/out", 3)
    buckets = ("gs://archive/in", "gs://archive/out")
    result = run(model, *buckets, "--runner", *options, "--dry_run=True")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "rows 0 = answered 0 (none) + refused 0\n"
    first = json.loads(bucket.blob("out/run.json").download_as_bytes())
    assert list(first["inputs"]) == ["gs://archive/in/00.csv"]


@pytest.mark.parametrize(
    ("runner", "option", "message"),
    [
        ("DirectRunner", "--machin_type=n2", "Beam has no option machin_type"),
        ("DirektRunner", "--region=x", "--runner DirektRunner: Unexpected pipeline runner"),
        ("DataflowRunner", "--region=x", "00.csv: Dataflow's workers cannot reach it"),
        ("DirectRunner", "--direct_num_workers=1", "07.csv: the header lacks the column text"),
    ],
)
def test_a_wrong_call_and_a_workers_error_are_explained(
    model: Path, archive: Path, tmp_path: Path, runner: str, option: str, message: str
) -> None:
    (archive / "07.csv").write_text("id,tweet\n1,flood\n")
    result = run(model, archive, tmp_path / "out", "--runner", runner, option)
    assert result.returncode == 1
    assert re.search(f"^error: .*{message}", result.stderr, re.M), result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "out").exists() == ("07.csv" in message)  # run.json
