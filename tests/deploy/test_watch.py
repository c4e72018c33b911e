"""The daily job: log and model come from an emulated bucket, and the report goes there."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dvc.repo import Repo

from deploy import watch
from monitor.labels import UnusedLabelsError
from monitor.verdict import STATUS
from tests.conftest import ROOT
from tests.gcs import Cloud
from tests.monitor.conftest import lines_of, make_model, tweets
from tests.test_images import run, sent

pytestmark = pytest.mark.usefixtures("nobody")
NOW = datetime.now(UTC)


def copy_code_of_an_image(folder: Path) -> Path:
    """Copy the code that an image gets, and no other."""
    for name in run("git", "ls-files").stdout.split():
        if Path(name).suffix in (".py", ".jinja") and sent(name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def test_the_report_of_a_day_is_made_by_the_code_of_an_image(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project := tmp_path / "project").mkdir()
    settings = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "BUCKET": "bucket",
        "PYTHONPATH": str(copy_code_of_an_image(tmp_path / "code")),
        "STORAGE_EMULATOR_HOST": cloud.url,
        "GOOGLE_CLOUD_PROJECT": "my-project",
    }
    bucket = cloud.client().create_bucket("bucket")
    (project / ".dvc").mkdir()
    config = "[core]\n no_scm = true\n remote = storage\n['remote \"storage\"']\n"
    (project / ".dvc/config").write_text(f"{config} url = gs://bucket/dvc\n")
    version = make_model(project / "models/classifier")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with Repo(project) as repo:
        repo.add(str(project / "models/classifier"))
        repo.push()
    shutil.rmtree(project / ".dvc/cache")
    shutil.rmtree(project / "models/classifier")
    lines = lines_of(tweets(1, 400, longer=0.5), version, start=NOW - timedelta(days=3))
    log = bucket.blob("run.googleapis.com/stdout/2026/11/26/10:00:00_10:59:59_S0.json")
    log.upload_from_string(  # as a sink of Cloud Logging writes it
        "".join(json.dumps({"jsonPayload": line, "severity": "INFO"}) + "\n" for line in lines)
    )
    command = [sys.executable, "-m", "deploy.watch"]
    process = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert re.search("^look: ", process.stdout, re.M)
    names = [blob.name for blob in bucket.list_blobs(prefix="reports/")]
    assert [name.split("/")[3] for name in names] == ["report.html", "report.json"]
    assert json.loads(bucket.blob(names[1]).download_as_bytes())["in_use"] == version


def test_the_options_name_the_week_and_the_samples(cloud: Cloud) -> None:
    bucket = cloud.client().create_bucket("bucket")
    today = datetime(2026, 11, 30, tzinfo=UTC)
    week = ["gs://bucket/run.googleapis.com", "--since=2026-11-23", "--until=2026-11-29"]
    assert watch.options(bucket, today) == week
    for name in ("reviewed/a.csv", "reviewed/b.txt"):
        bucket.blob(name).upload_from_string("id,label\n")
    assert watch.options(bucket, today) == [*week, "--reviewed", "gs://bucket/reviewed/a.csv"]


@pytest.mark.parametrize(("status", "code"), [(STATUS["look"], 0), (STATUS["act"], STATUS["act"])])
def test_old_samples_are_left_out_and_only_act_fails_the_job(
    status: int, code: int, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_report(chosen: argparse.Namespace) -> int:
        if "old" in chosen.reviewed:
            raise UnusedLabelsError("old", "no answer of these days")
        assert chosen.reviewed == ["new"]
        return status

    cloud.client().create_bucket("bucket")
    for name, value in {"BUCKET": "bucket", "STORAGE_EMULATOR_HOST": cloud.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    monkeypatch.setattr(sys, "argv", ["watch", "--reviewed", "old", "new"])
    monkeypatch.setattr(watch, "write_report", write_report)
    monkeypatch.setattr("deploy.watch.subprocess.run", lambda *_, **__: None)  # dvc pull
    with pytest.raises(SystemExit) as exit_info:
        watch.main()
    assert exit_info.value.code == code
