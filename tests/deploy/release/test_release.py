from pathlib import Path

import pytest

from common.errors import InputError
from deploy.google import GoogleProject
from deploy.release import cloud_run, images
from deploy.release.cloud_run import release, update_report
from tests.deploy.fake_gcloud import CloudRun, Gcloud

PROJECT = GoogleProject("my-project")
MODEL = "model1"
RIGHT = {"predictions": [{"label": "disaster", "probability": 0.9}] * 2}
URL = "https://revision-{}.example".format


@pytest.fixture
def run(gcloud: Gcloud, monkeypatch: pytest.MonkeyPatch) -> CloudRun:
    run = CloudRun(gcloud)
    monkeypatch.setattr(cloud_run, "smoke", run.smoke)
    return run


def put(number: int) -> None:
    release(PROJECT, f"image@sha256:{number}", MODEL)


def test_a_release_goes_step_by_step(run: CloudRun) -> None:
    run.faults[URL(1)] = InputError("wrong")
    with pytest.raises(InputError, match="wrong"):
        put(1)
    put(2)  # as the first one
    assert run.splits[-1] == {"revision-2": 100}
    spec = run.service["spec"]["template"]["spec"]
    assert "$" not in str(spec)
    assert spec["containers"][0]["image"] == "image@sha256:2"
    assert spec["serviceAccountName"] == PROJECT.account("serve")
    put(3)
    # The new revision exists, without traffic, before it gets all.
    assert run.splits[-2:] == [{"revision-2": 100}, {"revision-3": 100}]
    run.key_version = "2"
    put(3)  # the same, but for its keys
    assert run.splits[-1] == {"revision-4": 100}


@pytest.mark.parametrize(
    ("url", "fault", "had_traffic"),
    [
        (URL(2), InputError("another model"), False),
        (CloudRun.URL, KeyboardInterrupt(), True),
    ],
)
def test_a_revision_that_answers_wrongly_gets_no_traffic(
    run: CloudRun,
    url: str,
    fault: BaseException,
    had_traffic: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put(1)
    run.faults[url] = fault
    with pytest.raises(type(fault)):
        put(2)
    assert run.splits[-1] == {"revision-1": 100}
    assert ({"revision-2": 100} in run.splits) == had_traffic
    assert capsys.readouterr().out.endswith("in use: revision-1\n")


def test_the_daily_report_runs_the_released_image(
    gcloud: Gcloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_run, "get_image", lambda _, name, tag: f"{name}@sha256:{tag}")
    update_report(PROJECT, "c0ffee")
    assert "make cloud" in capsys.readouterr().out
    gcloud.answers["run jobs describe disaster-tweets-monitor"] = lambda *_: {"kind": "Job"}
    update_report(PROJECT, "c0ffee")
    (update,) = gcloud.called("run jobs update disaster-tweets-monitor")
    assert {"--image=train@sha256:c0ffee", "--args=-m,deploy.watch"} < {*update}


def test_a_missing_secret_is_named(gcloud: Gcloud) -> None:
    with pytest.raises(InputError, match="disaster-tweets-api-keys does not exist"):
        put(1)


def test_a_build_gets_a_clone_of_the_commit(
    gcloud: Gcloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def submit(folder: str, *words: str) -> str:
        assert (Path(folder) / ".git").is_dir()
        assert (Path(folder) / "Dockerfile.serve").exists()
        assert not (Path(folder) / ".venv").exists()
        names = f"_IMAGES={PROJECT.images},_COMMIT=c0ffee,_MODEL={MODEL}"
        assert {"--config=deploy/release/cloudbuild.yaml", f"--substitutions={names}"} <= {*words}
        digest = {"image_summary": {"digest": "sha256:1"}}
        gcloud.answers["artifacts docker images describe"] = lambda *_: digest
        return ""

    gcloud.answers["builds submit"] = submit
    monkeypatch.setattr(images, "get_commit", lambda: "c0ffee")
    monkeypatch.setattr("deploy.release.check_model.version", lambda: MODEL)
    with pytest.raises(InputError, match=r"no image .*/serve:c0ffee: python -m deploy images"):
        images.get_image(PROJECT, "serve", "c0ffee")
    for _ in range(2):  # the second time there is nothing to build
        images.build(PROJECT)
    assert len(gcloud.called("builds submit")) == 1
    assert f"{PROJECT.images}/train@sha256:1" in capsys.readouterr().out
