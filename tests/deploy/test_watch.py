"""The daily job: log and model come from an emulated bucket, and the report goes there."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from locked.labels import LABELS
from tests.conftest import ROOT
from tests.gcs import Cloud
from tests.monitor.conftest import Tweets, lines_of, make_model, tweets
from tests.test_images import sent

pytestmark = pytest.mark.usefixtures("nobody")
STAMP = datetime.now(UTC) - timedelta(days=3)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code that an image gets, and no other."""
    folder = tmp_path_factory.mktemp("code")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split():
        if Path(name).suffix in (".py", ".jinja") and sent(name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def call(folder: Path, code: Path, cloud: Cloud, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the image's user would, where no cloud is known but the emulated."""
    settings = {"BUCKET": "bucket", "PYTHONPATH": str(code), "STORAGE_EMULATOR_HOST": cloud.url}
    settings |= {"GOOGLE_CLOUD_PROJECT": "my-project"}
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def logged(given: Tweets, version: str) -> str:
    """Return an object as a sink of Cloud Logging writes it."""
    lines = lines_of(given, version, start=STAMP)
    return "".join(json.dumps({"jsonPayload": line, "severity": "INFO"}) + "\n" for line in lines)


def test_the_report_of_a_day(cloud: Cloud, code: Path, tmp_path: Path) -> None:
    bucket = cloud.client().create_bucket("bucket")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    version = make_model(tmp_path / "models/classifier")
    for command in (
        "dvc remote add --default storage gs://bucket/dvc",
        "dvc add models/classifier",
        "dvc push",
    ):
        done = call(tmp_path, code, cloud, *command.split())
        assert done.returncode == 0, done.stderr
    shutil.rmtree(tmp_path / ".dvc/cache")
    shutil.rmtree(tmp_path / "models/classifier")
    watch = (sys.executable, "-m", "deploy.watch")

    done = call(tmp_path, code, cloud, *watch)
    assert done.returncode == 1
    assert "gs://bucket/run.googleapis.com" in done.stderr

    given = tweets(1, 400, longer=0.5)
    log = bucket.blob("run.googleapis.com/stdout/2026/11/26/10:00:00_10:59:59_S0.json")
    log.upload_from_string(logged(given, version))
    done = call(tmp_path, code, cloud, *watch)
    assert done.returncode == 0, done.stderr  # somebody should look: that is no failure
    assert "\nlook: Live tweets differ in characters" in f"\n{done.stdout}"
    made = [blob.name for blob in bucket.list_blobs(prefix="reports/")]
    assert [name.split("/")[3] for name in made] == ["report.html", "report.json"]
    assert made[0].split("/")[1] == f"{datetime.now(UTC):%Y-%m-%d}"
    report = json.loads(bucket.blob(made[1]).download_as_bytes())
    assert report["in_use"] == version

    wrong = [f"r-{i},,{int(label == LABELS[0])},random" for i, label in enumerate(answers(given))]
    sample = "\n".join(["id,text,label,drawn", *wrong])
    bucket.blob("reviewed/sample.csv").upload_from_string(sample)
    done = call(tmp_path, code, cloud, *watch)
    assert done.returncode == 4, done.stderr
    assert "act: " in done.stdout
    assert len(list(bucket.list_blobs(prefix="reports/"))) == 4


def answers(given: Tweets) -> list[str]:
    """Return what the model said."""
    return [LABELS[int(disaster)] for disaster in given.disaster]


def test_without_a_bucket_it_says_so(cloud: Cloud, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "BUCKET"}
    command = [sys.executable, "-m", "deploy.watch"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "error: which bucket? export BUCKET=NAME\n")
    assert cloud.requests == []
