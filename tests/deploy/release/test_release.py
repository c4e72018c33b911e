from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import InputError
from deploy.google import GoogleProject
from deploy.release import cloud_run, images, vertex
from deploy.release.cloud_run import back, release, update_report
from deploy.release.smoke import SmokeError
from tests.deploy.fake_gcloud import CloudRun, Gcloud, Vertex, flag

PROJECT = GoogleProject("my-project")
MODEL = "model1"
RIGHT = {"predictions": [{"label": "disaster", "probability": 0.9}] * 2}


@pytest.fixture
def run(gcloud: Gcloud) -> CloudRun:
    return CloudRun(gcloud)


@pytest.fixture
def broken(run: CloudRun, monkeypatch: pytest.MonkeyPatch) -> dict[str, BaseException]:
    """Faults by address; whatever else is asked answers well, if it is asked with the right key."""
    faults: dict[str, BaseException] = {}

    def smoke(url: str, _model: str, key: str, seconds: float) -> int:
        assert key == run.key
        if fault := faults.get(f"{url} for {seconds:g}", faults.get(url)):
            raise fault
        return 1

    monkeypatch.setattr(cloud_run, "smoke", smoke)
    return faults


@pytest.fixture
def released(run: CloudRun, broken: dict[str, BaseException]) -> Callable[[str], None]:
    """Release an image, quickly."""
    return lambda image: release(PROJECT, image, MODEL, 0)


def url_of(number: int) -> str:
    return f"https://revision-{number}.example"


def test_a_release_goes_step_by_step(run: CloudRun, released: Callable[[str], None]) -> None:
    released("image@sha256:1")
    assert run.shares == {"revision-1": 100}
    spec = run.service["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == "image@sha256:1"
    assert spec["serviceAccountName"] == PROJECT.account("serve")
    released("image@sha256:2")
    assert run.splits[-3:] == [
        {"revision-1": 100},  # the new revision exists, without traffic
        {"revision-1": 90, "revision-2": 10},
        {"revision-2": 100},
    ]
    run.key_version = "2"
    released("image@sha256:2")  # the same, but for its keys
    assert run.shares == {"revision-3": 100}


def test_back_goes_to_the_last_revision_that_answers(
    run: CloudRun,
    released: Callable[[str], None],
    broken: dict[str, BaseException],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(InputError, match="no service disaster-tweets has traffic"):
        back(PROJECT)
    for number in range(1, 5):
        released(f"image@sha256:{number}")
    never_started = {"conditions": [{"type": "Ready", "status": "False"}]}
    run.revisions[2]["status"] = never_started
    broken[url_of(2)] = SmokeError("wrong")
    back(PROJECT)
    assert run.shares == {"revision-1": 100}
    assert "revision-2 without traffic: wrong" in capsys.readouterr().out
    with pytest.raises(InputError, match="no revision before revision-1"):
        back(PROJECT)


def test_where_no_earlier_revision_answers_the_traffic_stays(
    run: CloudRun, released: Callable[[str], None], broken: dict[str, BaseException]
) -> None:
    released("image@sha256:1")
    released("image@sha256:2")
    broken[run.URL] = SmokeError("wrong with traffic")
    with pytest.raises(InputError, match=r"wrong with traffic\nin use: revision-2"):
        back(PROJECT)
    broken[url_of(1)] = SmokeError("wrong")
    with pytest.raises(InputError, match="no revision before revision-2 answers well"):
        back(PROJECT)
    assert run.shares == {"revision-2": 100}


@pytest.mark.parametrize(
    ("url", "fault", "message", "had_traffic"),
    [
        (url_of(2), SmokeError("another model"), "without traffic: another model", False),
        (f"{url_of(2)} for 7", SmokeError("wrong"), "with 10 % of the traffic: wrong", True),
        (CloudRun.URL, SmokeError("wrong"), "with all traffic: wrong", True),
        (f"{url_of(2)} for 7", KeyboardInterrupt(), "interrupted", True),
        (f"{url_of(2)} for 7", MemoryError(), "", True),
    ],
)
def test_a_revision_that_answers_wrongly_gets_no_traffic(
    run: CloudRun,
    released: Callable[[str], None],
    broken: dict[str, BaseException],
    url: str,
    fault: BaseException,
    message: str,
    had_traffic: bool,
) -> None:
    released("image@sha256:1")
    broken[url] = fault
    expected = InputError if message else type(fault)
    with pytest.raises(expected, match=rf"{message}\nin use: revision-1" if message else None):
        release(PROJECT, "image@sha256:2", MODEL, 7)
    assert run.shares == {"revision-1": 100}
    assert ({"revision-1": 90, "revision-2": 10} in run.splits) == had_traffic


def test_a_first_revision_that_answers_wrongly_can_be_replaced(
    run: CloudRun, released: Callable[[str], None], broken: dict[str, BaseException]
) -> None:
    broken[url_of(1)] = SmokeError("wrong")
    with pytest.raises(InputError, match="in use: revision-1"):
        released("image@sha256:1")
    released("image@sha256:2")
    assert run.shares == {"revision-2": 100}


def test_the_daily_report_runs_the_released_image(
    gcloud: Gcloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_run, "built", lambda _, name, tag: f"{name}@sha256:{tag}")
    update_report(PROJECT, "c0ffee")
    assert "make cloud" in capsys.readouterr().out
    gcloud.answers["run jobs describe disaster-tweets-monitor"] = lambda *_: {"kind": "Job"}
    update_report(PROJECT, "c0ffee")
    update = gcloud.calls[-1]
    assert update[:4] == ("run", "jobs", "update", "disaster-tweets-monitor")
    assert flag(update, "image") == "train@sha256:c0ffee"
    assert (flag(update, "command"), flag(update, "args")) == ("python", "-m,deploy.watch")


def test_a_secret_that_does_not_exist_is_named(gcloud: Gcloud) -> None:
    with pytest.raises(InputError, match="disaster-tweets-api-keys does not exist"):
        release(PROJECT, "image", MODEL, 0)


def test_the_service_has_no_word_that_is_not_filled_in() -> None:
    text = str(cloud_run.render(PROJECT, "image@sha256:1", "1", {}))
    assert "$" not in text
    assert "'percent': 100" in text


def test_a_release_on_vertex_ai_replaces_the_model_step_by_step(
    gcloud: Gcloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vertex, "ANSWERS", 1)
    cloud = Vertex(gcloud)
    with pytest.raises(InputError, match="answers None"):
        vertex.release(PROJECT, "image@sha256:1", "one")
    assert cloud.endpoints[0]["deployedModels"] == []
    cloud.prediction = RIGHT
    vertex.release(PROJECT, "image@sha256:1", "one")
    vertex.release(PROJECT, "image@sha256:2", "one")  # other code, the same model
    assert [model["image"][-1] for model in cloud.models] == ["1", "2"]
    (upload, _) = gcloud.called("models upload")
    assert flag(upload, "container-predict-route") == "/predict"
    [only] = cloud.endpoints[0]["deployedModels"]
    assert only["displayName"] == "disaster-tweets-one-2"
    assert cloud.endpoints[0]["trafficSplit"] == {only["id"]: 100}
    splits = [flag(call, "traffic-split") for call in gcloud.called("traffic-split")]
    assert splits[-2:] == ["0=10,2=90", "2=0,3=100"]

    cloud.prediction = {"predictions": ["nonsense"]}
    with pytest.raises(InputError, match="nonsense"):
        vertex.release(PROJECT, "image@sha256:3", "three")
    assert cloud.endpoints[0]["deployedModels"] == [only]
    assert cloud.endpoints[0]["trafficSplit"] == {only["id"]: 100}

    def interrupt(*_: str) -> None:
        raise KeyboardInterrupt

    gcloud.answers["ai endpoints predict"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        vertex.release(PROJECT, "image@sha256:2", "one")
    assert cloud.endpoints[0]["deployedModels"] == [only]


def test_what_the_shares_leave_adds_up() -> None:
    assert vertex._scale_down({"1": 100}) == {"1": 90}
    assert vertex._scale_down({"1": 33, "2": 33, "3": 34}) == {"1": 29, "2": 29, "3": 32}


def test_a_build_gets_a_clone_of_the_commit(
    gcloud: Gcloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "artifacts docker images describe"

    def submit(folder: str, *words: str) -> str:
        assert (Path(folder) / ".git").is_dir()
        assert (Path(folder) / "Dockerfile.serve").exists()
        assert not (Path(folder) / ".venv").exists()
        names = f"_IMAGES={PROJECT.images},_COMMIT=c0ffee,_MODEL={MODEL}"
        assert {"--config=deploy/release/cloudbuild.yaml", f"--substitutions={names}"} <= {*words}
        gcloud.answers[address] = lambda *_: {"image_summary": {"digest": "sha256:1"}}
        return ""

    gcloud.answers["builds submit"] = submit
    monkeypatch.setattr(images, "commit", lambda: "c0ffee")
    monkeypatch.setattr(images, "locked_model", lambda: MODEL)
    with pytest.raises(InputError, match=r"no image .*/serve:c0ffee yet: python -m deploy images"):
        images.built(PROJECT, "serve", "c0ffee")
    for _ in range(2):  # the second time there is nothing to build
        images.build(PROJECT)
    assert len(gcloud.called("builds submit")) == 1
    assert f"{PROJECT.images}/train@sha256:1" in capsys.readouterr().out
