import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.errors import InputError
from deploy.google import Place, gcloud
from deploy.release import cloud_run, smoke, vertex
from deploy.release.cloud_run import back, serving
from deploy.setup.__main__ import up
from deploy.setup.resources import resources
from locked.manifest import MANIFEST, read_manifest
from tests.conftest import Project
from tests.deploy.google_cloud import GoogleCloud
from tests.serve.running import Running, free_port
from tests.serve.running import serving as served

AT = Place("my-project")
KEY = "a-key-of-the-endpoint"
SERVICE = "us-central1-run/namespaces/my-project/services/disaster-tweets"
GOOD = {"predictions": [{"label": "disaster", "probability": 0.9}] * 2}


@pytest.fixture(scope="module")
def server(pipeline: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """What every revision turns out to be: a real server that asks for a key."""
    folder = tmp_path_factory.mktemp("server")
    with served(pipeline, folder, API_KEYS=f"{KEY},another-key-of-the-endpoint") as running:
        yield running


@pytest.fixture
def cloud(google: GoogleCloud, server: Running, monkeypatch: pytest.MonkeyPatch) -> GoogleCloud:
    google.service_url = google.tag_url = server.url
    google.hold_secret("disaster-tweets-api-keys", f"{KEY},another-key-of-the-endpoint")
    monkeypatch.setattr(smoke, "PATIENCE", 0.1)
    return google


@pytest.fixture
def version(pipeline: Project) -> str:
    return read_manifest(pipeline.folder / "models/classifier" / MANIFEST).version


def shares(cloud: GoogleCloud) -> dict[str, int]:
    return serving(cloud.held[SERVICE])


def splits(cloud: GoogleCloud) -> list[dict[str, int]]:
    """Return how the traffic was split, change by change."""
    puts = [b for m, u, b in cloud.requests if "/services" in u and m in ("POST", "PUT")]
    return [
        {t.get("revisionName", "newest"): t["percent"] for t in traffic if t.get("percent")}
        for traffic in (body["spec"]["traffic"] for body in puts)
    ]


def test_a_release_goes_step_by_step_and_back(cloud: GoogleCloud, version: str) -> None:
    cloud_run.release(AT, "image@sha256:1", version, 0)
    assert shares(cloud) == {"disaster-tweets-00001": 100}
    template = cloud.held[SERVICE]["spec"]["template"]["spec"]
    assert template["containers"][0]["image"] == "image@sha256:1"
    assert template["serviceAccountName"] == AT.account("serve")

    cloud_run.release(AT, "image@sha256:2", version, 0)
    assert shares(cloud) == {"disaster-tweets-00002": 100}
    assert splits(cloud)[-3:] == [
        {"disaster-tweets-00001": 100},  # the new one is there, without traffic
        {"disaster-tweets-00001": 90, "disaster-tweets-00002": 10},
        {"disaster-tweets-00002": 100},
    ]

    failed = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    revisions = SERVICE.replace("services", "revisions")
    cloud.hold_secret("disaster-tweets-api-keys", KEY, version="2")
    cloud_run.release(AT, "image@sha256:2", version, 0)  # the same, but for its keys
    assert shares(cloud) == {"disaster-tweets-00003": 100}
    cloud.held[f"{revisions}-00002"] |= failed
    back(AT)
    assert shares(cloud) == {"disaster-tweets-00001": 100}
    with pytest.raises(InputError, match="no revision before disaster-tweets-00001"):
        back(AT)


def test_nothing_goes_back_to_what_does_not_answer(
    cloud: GoogleCloud, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        cloud_run.release(AT, f"image@sha256:{number}", version, 0)
    cloud.tag_url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(InputError, match="no revision before disaster-tweets-00002 answers"):
        back(AT)
    assert shares(cloud) == {"disaster-tweets-00002": 100}
    assert "disaster-tweets-00001 without traffic: " in capsys.readouterr().out


def test_the_daily_report_judges_what_is_in_use(
    google: GoogleCloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud_run, "built", lambda _, name, tag: f"{name}@sha256:{tag}")
    cloud_run.report_on(AT, "c0ffee")
    assert "make cloud" in capsys.readouterr().out
    up([each for each in resources(AT, "", "1") if each.what.startswith("job: ")])
    cloud_run.report_on(AT, "c0ffee")
    (job,) = (value for key, value in google.held.items() if "/jobs/" in key)
    container = job["spec"]["template"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "train@sha256:c0ffee"
    assert (container["command"], container["args"]) == (["python"], ["-m", "deploy.watch"])


@pytest.mark.parametrize("ill", ["the model", "all traffic", "the first", "a fault"])
def test_what_does_not_answer_gets_no_traffic(
    cloud: GoogleCloud, version: str, ill: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    well = cloud.service_url
    dead = f"http://127.0.0.1:{free_port()}"
    if ill == "the first":
        cloud.service_url = dead
        with pytest.raises(InputError, match="in use: disaster-tweets-00001"):
            cloud_run.release(AT, "image@sha256:1", version, 0)
        cloud.service_url = well
        cloud_run.release(AT, "image@sha256:2", version, 0)  # can replace it
        assert shares(cloud) == {"disaster-tweets-00002": 100}
        return
    cloud_run.release(AT, "image@sha256:1", version, 0)
    said, seconds = r"127\.0\.0\.1", 0.0
    if ill == "the model":
        said, version = f"serves model {version} instead of 0123", "0123"
    elif ill == "all traffic":
        cloud.service_url = dead
    else:
        monkeypatch.setattr(cloud_run, "smoke", raising(MemoryError))
        with pytest.raises(MemoryError):
            cloud_run.release(AT, "image@sha256:2", version, 1)
        assert shares(cloud) == {"disaster-tweets-00001": 100}
        monkeypatch.setattr(cloud_run, "smoke", raising(KeyboardInterrupt))
        said, seconds = "interrupted", 1
    with pytest.raises(InputError, match=rf"{said}(.|\n)*in use: disaster-tweets-00001"):
        cloud_run.release(AT, "image@sha256:2", version, seconds)
    assert shares(cloud) == {"disaster-tweets-00001": 100}
    tenth = {"disaster-tweets-00001": 90, "disaster-tweets-00002": 10}
    assert (tenth in splits(cloud)) == (ill != "the model")


def raising(error: type[BaseException]) -> Callable[..., int]:
    """Return what fails where it is to go on asking."""

    def smoke(_url: str, _model: str, _key: str, seconds: float) -> int:
        if seconds:
            raise error
        return 1

    return smoke


def test_the_smoke_test_needs_the_key(
    server: Running, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke, "PATIENCE", 0)
    assert smoke.smoke(server.url, version, KEY, seconds=0.1) >= 1
    with pytest.raises(smoke.SmokeError, match="/predict: 401"):
        smoke.smoke(server.url, version)
    with pytest.raises(smoke.SmokeError, match="no address"):
        smoke.smoke("file:///etc/passwd")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"220 mail.example.com\r\n", "220 mail"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nno", "IncompleteRead"),
    ],
)
def test_what_speaks_no_whole_http_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, answer: bytes, said: str
) -> None:
    monkeypatch.setattr(smoke, "PATIENCE", 0)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            with listening.accept()[0] as caller:
                caller.recv(65536)  # what is left unread would reset the connection
                caller.sendall(answer)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(smoke.SmokeError, match=f"{url}/health: {said}"):
            smoke.smoke(url)
        thread.join(10)


def test_an_endpoint_of_vertex_ai_gets_the_same_image(
    google: GoogleCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vertex, "ANSWERS", 1)

    def held() -> dict[str, Any]:
        return next(value for key, value in google.held.items() if "/endpoints/" in key)

    google.predicts = {"predictions": None}
    with pytest.raises(InputError, match="answers"):
        vertex.release(AT, "image@sha256:1", "one")
    assert held()["deployedModels"] == []
    google.predicts = GOOD
    vertex.release(AT, "image@sha256:1", "one")
    vertex.release(AT, "image@sha256:2", "one")  # other code, the same model

    models = [value for key, value in google.held.items() if "/models/" in key]
    assert [m["containerSpec"]["imageUri"][-1] for m in models] == ["1", "2"]
    assert models[0]["containerSpec"]["predictRoute"] == "/predict"
    [only] = held()["deployedModels"]
    assert only["displayName"] == "disaster-tweets-one-2"
    assert held()["trafficSplit"][only["id"]] == 100

    def interrupted(*words: str) -> str:
        said = gcloud(*words)
        if "deploy-model" in words:
            raise KeyboardInterrupt
        return said

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(vertex, "gcloud", interrupted)
        vertex.release(AT, "image@sha256:2", "one")
    assert [each["id"] for each in held()["deployedModels"]] == [only["id"]]
    assert held()["trafficSplit"][only["id"]] == 100

    google.predicts = {"predictions": ["nonsense"]}
    with pytest.raises(InputError, match="nonsense"):
        vertex.release(AT, "image@sha256:3", "three")
    assert [each["displayName"] for each in held()["deployedModels"]] == ["disaster-tweets-one-2"]
    assert held()["trafficSplit"][only["id"]] == 100


def test_the_manifest_leaves_nothing_to_fill_in(tmp_path: Path) -> None:
    text = str(cloud_run.described(AT, "image@sha256:1", "1", {}))
    assert "$" not in text
    assert "'percent': 100" in text
