import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from google.cloud import storage

from deploy.train import job
from tests.conftest import HANG, ROOT, Project
from tests.deploy.conftest import no_cloud
from tests.gcs import Cloud
from tests.serve.running import wait_until

JOB = (sys.executable, "-m", "deploy.train.job")
# The real train stage saves and resumes likewise: tests/stages/train/test_stage.py.
STAGES = """\
stages:
  prepare:
    cmd: cp params.yaml prepared
    deps: [params.yaml]
    outs: [prepared]
  train:
    cmd: bash train.sh
    deps: [prepared, train.sh]
    outs: [model]
  evaluate:
    cmd: cp model metrics
    deps: [model]
    outs: [metrics: {cache: false}]
"""
TRAIN = """\
trap 'sleep 0.3; echo half > "$CHECKPOINTS/checkpoint"; exit 143' TERM
cp "$CHECKPOINTS/checkpoint" model && exit
touch "$CHECKPOINTS/started"
while :; do sleep 0.05; done
"""


def machine(folder: Path, cloud: Cloud) -> tuple[Path, dict[str, str]]:
    """Return the folder of an image's code, without git, and its environment."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    (folder / "dvc.yaml").write_text(STAGES)
    (folder / "train.sh").write_text(TRAIN)
    return folder, Project(folder, folder.with_name(f"{folder.name}-site-cache")).environment(
        BUCKET="bucket",
        RUN="run",
        CHECKPOINTS=str(folder.parent),
        PYTHONPATH=str(ROOT),
        STORAGE_EMULATOR_HOST=cloud.url,
        GOOGLE_CLOUD_PROJECT="my-project",
        **no_cloud(folder),
    )


def run_job(folder: Path, environment: dict[str, str]) -> list[str]:
    """Run a job to its end, and return the stages that ran."""
    process = subprocess.run(
        JOB, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return re.findall(r"Running stage '(\w+)'", process.stdout)


def test_a_job_that_is_taken_away_goes_on_elsewhere(cloud: Cloud, tmp_path: Path) -> None:
    bucket: storage.Bucket = cloud.client().create_bucket("bucket")
    first, environment = machine(tmp_path / "first", cloud)
    with subprocess.Popen(JOB, cwd=first, env=environment) as process:
        assert wait_until((tmp_path / "started").exists)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=HANG) == 143
    assert (tmp_path / "checkpoint").exists()  # though DVC ended before the stage
    assert not list(bucket.list_blobs(prefix="runs/"))

    assert run_job(*machine(tmp_path / "second", cloud)) == ["prepare", "train", "evaluate"]
    archive = tmp_path / "results.tar.gz"
    bucket.blob("runs/run/results.tar.gz").download_to_filename(archive)
    third, environment = machine(tmp_path / "third", cloud)
    subprocess.run(["tar", "-xzf", archive, "-C", third], check=True)
    (third / "dvc.yaml").write_text(STAGES.replace("cp model metrics", "wc -c < model > metrics"))
    assert run_job(third, environment) == ["evaluate"]  # the rest comes from the bucket
    assert (third / "metrics").read_text() == "5\n"


def test_the_status_is_that_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit, match="7"):
        job.call(["sh", "-c", "exit 7"])
