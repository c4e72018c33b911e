"""The daily job: log and model come from an emulated bucket, and the report goes there."""

import json
import re
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dvc.cli import main as dvc
from dvc.repo import Repo
from google.cloud import storage

from deploy import watch
from monitor.verdict import STATUS
from tests.deploy.conftest import REMOTE
from tests.gcs import Cloud
from tests.monitor.conftest import lines_of, make_model, tweets

NOW = datetime.now(UTC)


@pytest.fixture
def bucket(nobody: None, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> storage.Bucket:
    """The bucket that the job uses; its DVC runs in this process."""

    def run(command: list[str], check: bool) -> None:
        assert dvc(command[1:]) == 0
        assert check

    for name, value in {"BUCKET": "bucket", "STORAGE_EMULATOR_HOST": cloud.url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
    monkeypatch.setattr("deploy.watch.subprocess.run", run)
    return cloud.client().create_bucket("bucket")


def test_the_report_of_a_day_goes_to_the_bucket(
    bucket: storage.Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(f"{REMOTE} url = gs://bucket/dvc\n")
    version = make_model(tmp_path / "models/classifier")
    with Repo(tmp_path) as repo:
        repo.add("models/classifier")
        repo.push()
    shutil.rmtree(tmp_path / ".dvc/cache")
    shutil.rmtree(tmp_path / "models/classifier")
    lines = lines_of(tweets(1, 400, longer=0.5), version, start=NOW - timedelta(days=3))
    log = bucket.blob("run.googleapis.com/stdout/2026/11/26/10:00:00_10:59:59_S0.json")
    log.upload_from_string(  # as a sink of Cloud Logging writes it
        "".join(json.dumps({"jsonPayload": line, "severity": "INFO"}) + "\n" for line in lines)
    )
    monkeypatch.setattr(sys, "argv", ["watch"])
    with pytest.raises(SystemExit, match="0"):  # though the verdict is `look`
        watch.main()
    assert re.search("^look: ", capsys.readouterr().out, re.M)
    names = [blob.name for blob in bucket.list_blobs(prefix="reports/")]
    assert [name.split("/")[3] for name in names] == ["report.html", "report.json"]
    assert json.loads(bucket.blob(names[1]).download_as_bytes())["version"] == version


def test_the_options_name_the_week_and_the_samples(bucket: storage.Bucket) -> None:
    today = datetime(2026, 11, 30, tzinfo=UTC)
    week = ["gs://bucket/run.googleapis.com", "--since=2026-11-23", "--until=2026-11-29"]
    assert watch.make_options(bucket, today) == week
    for name in ("reviewed/a.csv", "reviewed/b.txt"):
        bucket.blob(name).upload_from_string("id,label\n")
    assert watch.make_options(bucket, today) == [*week, "--reviewed", "gs://bucket/reviewed/a.csv"]


@pytest.mark.usefixtures("bucket")
def test_act_fails_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["watch"])
    monkeypatch.setattr(watch, "write_report", lambda _: STATUS["act"])
    monkeypatch.setattr("deploy.watch.subprocess.run", lambda *_, **__: None)  # dvc pull
    with pytest.raises(SystemExit, match=str(STATUS["act"])):
        watch.main()
