import subprocess
import tarfile
from pathlib import Path

import pytest

from common.errors import InputError
from deploy.google import GoogleProject
from deploy.release import images
from deploy.train import submit
from tests.deploy.conftest import Command
from tests.deploy.fake_gcloud import NOTHING, Gcloud, flag

PROJECT = GoogleProject("my-project")
RUN = "disaster-tweets-train-c0ffee"
FILE = f"gs://{PROJECT.bucket}/runs/{RUN}"


def test_a_job_of_vertex_ai_is_a_spot_job_and_followed_again(gcloud: Gcloud) -> None:
    jobs: list[dict[str, str]] = []

    def create(*words: str) -> dict[str, str]:
        config = Path(flag(words, "config")).read_text()
        for part in ("strategy: SPOT", "timeout: 7200s", "imageUri: image@sha256:1"):
            assert part in config
        assert f"/gcs/{PROJECT.bucket}/checkpoints" in config
        assert "$" not in config
        jobs.append({"name": f"jobs/{len(jobs) + 1}", "state": "JOB_STATE_RUNNING"})
        return jobs[-1]

    def end(name: str, *_: str) -> str:
        jobs[-1]["state"] = "JOB_STATE_SUCCEEDED" if name == "jobs/2" else "JOB_STATE_FAILED"
        return ""

    gcloud.answers |= {
        "ai custom-jobs list": lambda *_: jobs,
        "ai custom-jobs create": create,
        "ai custom-jobs stream-logs": end,
        "ai custom-jobs describe": lambda *_: jobs[-1],
    }
    with pytest.raises(InputError, match="JOB_STATE_FAILED"):
        submit.train(PROJECT, RUN, "image@sha256:1", 2)
    for _ in range(2):  # a new one after the failure, which is then followed
        submit.train(PROJECT, RUN, "image@sha256:1", 2)
    assert len(jobs) == 2


def test_results_are_unpacked_over_the_clone(
    gcloud: Gcloud, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(target: str, *_: str) -> str:
        with tarfile.open(target, mode="w:gz") as tar:
            tar.add(new, "models/metrics.json")
        return ""

    gcloud.answers[f"storage cp {FILE}/results.tar.gz"] = copy
    submitted: list[object] = []
    monkeypatch.setattr(submit, "train", lambda project, *rest: submitted.extend(rest))
    monkeypatch.setattr(images, "get_commit", lambda: "c0ffee")
    monkeypatch.setattr(images, "get_image", lambda *_: "image@sha256:1")
    (new := tmp_path / "new").write_text("new")
    (metrics := tmp_path / "models/metrics.json").parent.mkdir()
    metrics.write_text("old")
    monkeypatch.chdir(tmp_path)
    command("train")
    assert submitted == [RUN, "image@sha256:1", 4]
    assert metrics.read_text() == "new"


def test_a_commit_needs_its_image_and_no_change(
    gcloud: Gcloud, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (path := tmp_path / "params.yaml").write_text("a: 1\n")
    name = "-c user.name=a -c user.email=a@b.c"
    for line in ("init --quiet", "add .", f"{name} commit --quiet --message start"):
        subprocess.run(["git", *line.split()], check=True)
    gcloud.answers["artifacts docker images describe"] = lambda *_: NOTHING
    with pytest.raises(InputError, match=r"no image .*/train:[0-9a-f]{12}: python -m deploy imag"):
        command("train")
    path.write_text("a: 2\n")
    with pytest.raises(InputError, match=r"not committed yet: params\.yaml"):
        command("train")
