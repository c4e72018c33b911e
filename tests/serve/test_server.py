"""A real server process, asked over HTTP."""

import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest

from serve.classifier import Classifier
from tests.conftest import CORPUS, ROOT, Project

START = 60  # seconds


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def start(project: Project, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "serve"],
        cwd=ROOT,
        env=project.environment(
            **{"MODEL_URI": str(project.folder / "models/classifier"), **environment}
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until_ready(process: subprocess.Popen[str], url: str) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    process.kill()
    pytest.fail(f"the server did not start: {process.communicate()[0]}")


def stop(process: subprocess.Popen[str]) -> str:
    process.send_signal(signal.SIGTERM)
    try:
        return process.communicate(timeout=20)[0]
    finally:
        process.kill()


def runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture(scope="module")
def url(pipeline: Project) -> Iterator[str]:
    port = free_port()
    process = start(pipeline, PORT=str(port))
    wait_until_ready(process, f"http://127.0.0.1:{port}/health")
    yield f"http://127.0.0.1:{port}"
    stop(process)


@pytest.fixture(scope="module")
def classifier(pipeline: Project) -> Classifier:
    return Classifier(pipeline.folder / "models/classifier")


def test_one_tweet(url: str, classifier: Classifier) -> None:
    text = "Evacuations ordered as the river bursts its banks"
    answer = httpx.post(f"{url}/predict", json={"text": text}).raise_for_status().json()
    assert set(answer) == {"label", "probability", "model", "id"}
    assert answer["probability"] == pytest.approx(classifier.probabilities([text])[0], abs=1e-6)
    assert answer["label"] == classifier.label(answer["probability"])
    assert answer["model"] == classifier.manifest.version


def test_many_tweets_in_the_form_of_vertex(url: str, classifier: Classifier) -> None:
    texts = pd.read_csv(CORPUS)["text"].head(50).tolist()
    body = {"instances": [{"text": text} for text in texts], "parameters": {}}
    answer = httpx.post(f"{url}/predict", json=body).raise_for_status().json()
    assert set(answer) == {"predictions", "model"}
    assert [p["probability"] for p in answer["predictions"]] == pytest.approx(
        classifier.probabilities(texts).tolist(), abs=1e-6
    )


def test_the_answer_is_the_same_under_load(url: str, classifier: Classifier) -> None:
    texts = pd.read_csv(CORPUS)["text"].head(200).tolist()
    with httpx.Client(base_url=url) as client, concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda t: client.post("/predict", json={"text": t}).json(), texts))
    assert [a["probability"] for a in answers] == pytest.approx(
        classifier.probabilities(texts).tolist(), abs=1e-6
    )
    assert len({a["id"] for a in answers}) == len(texts)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"text": ""}', "text"),
        (b'{"text": "   "}', "text"),
        (b'{"text": 5}', "text"),
        (b'{"txt": "fire"}', "text"),
        (b'{"text": "fire", "lang": "en"}', "lang"),
        (b'{"instances": []}', "instances"),
        (b'{"instances": [{"text": "fire"}, {"text": null}]}', "instances"),
        (b'{"instances": "fire"}', "instances"),
        (json.dumps({"text": "x" * 10_001}).encode(), "text"),
        (json.dumps({"instances": [{"text": "x"}] * 1001}).encode(), "instances"),
        (b"[]", "body"),
        (b"", "body"),
        (b"{nonsense", "body"),
        (b'{"text": "\xff"}', "body"),
        (b'{"text": "\\ud800"}', "text"),
        (b'{"text": NaN}', "text"),
        (b'{"text": 1e999}', "text"),
        (b'{"text": "fire", "\\ud800": 1}', "body"),
        (b"[" * 100_000, "body"),
    ],
)
def test_a_clients_mistake_is_refused_by_field(url: str, body: bytes, field: str) -> None:
    response = httpx.post(
        f"{url}/predict", content=body, headers={"Content-Type": "application/json"}
    )
    assert response.status_code in (400, 422)
    assert field in json.dumps(response.json()["detail"])
    assert "input" not in response.json()["detail"][0]


def test_a_body_too_large_is_refused(url: str) -> None:
    assert httpx.post(f"{url}/predict", content=b" " * (17 * 2**20)).status_code == 413


def test_mistakes_harm_no_neighbour(url: str) -> None:
    bodies = [{"text": "fire downtown"}, {"text": ""}, {"instances": [{"text": 1}]}] * 30
    with httpx.Client(base_url=url) as client, concurrent.futures.ThreadPoolExecutor(16) as pool:
        codes = list(pool.map(lambda b: client.post("/predict", json=b).status_code, bodies))
    assert codes == [200, 422, 422] * 30


def test_info_and_docs_describe_the_model(url: str, classifier: Classifier) -> None:
    model = httpx.get(f"{url}/info").json()["model"]
    assert model["version"] == classifier.manifest.version
    assert model["threshold"] == classifier.manifest.threshold
    assert httpx.get(f"{url}/docs").status_code == 200
    schema = httpx.get(f"{url}/openapi.json").json()["components"]["schemas"]
    assert {"Tweet", "Tweets", "TweetAnswer", "TweetsAnswer"} <= set(schema)


def test_vertex_names_port_and_routes(pipeline: Project) -> None:
    port = free_port()
    process = start(
        pipeline,
        PORT="9999",
        AIP_HTTP_PORT=str(port),
        AIP_PREDICT_ROUTE="/v1/models/m:predict",
        AIP_HEALTH_ROUTE="/v1/models/m",
    )
    wait_until_ready(process, f"http://127.0.0.1:{port}/v1/models/m")
    body = {"instances": [{"text": "fire"}]}
    answer = httpx.post(f"http://127.0.0.1:{port}/v1/models/m:predict", json=body).json()
    assert len(answer["predictions"]) == 1
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert children
    output = stop(process)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    time.sleep(1)  # multiprocessing's resource tracker leaves last
    assert [pid for pid in children if runs(pid)] == []


def test_a_killed_server_leaves_nothing(pipeline: Project) -> None:
    port = free_port()
    process = start(pipeline, PORT=str(port))
    wait_until_ready(process, f"http://127.0.0.1:{port}/health")
    workers = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(workers) >= 3
    process.kill()
    process.wait()
    time.sleep(3)
    assert [pid for pid in workers if runs(pid)] == []


def ends_with(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=START)
    return process.returncode, output


def test_an_altered_model_is_not_served(pipeline: Project, classifier_folder: Path) -> None:
    path = classifier_folder / "network.bin"
    os.truncate(path, path.stat().st_size - 1)
    code, output = ends_with(start(pipeline, MODEL_URI=str(classifier_folder)))
    assert code == 1
    assert f"error: {path} has been altered" in output
    assert "Traceback" not in output


def test_no_model_is_said(pipeline: Project, tmp_path: Path) -> None:
    code, output = ends_with(start(pipeline, MODEL_URI=str(tmp_path)))
    assert code == 1
    assert "manifest.json is missing" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "http"), ("PORT", "80"), ("AIP_HTTP_PORT", "0"), ("HOST", "here")]
)
def test_a_bad_setting_is_named(pipeline: Project, name: str, value: str) -> None:
    code, output = ends_with(start(pipeline, **{name: value}))
    assert code == 1
    assert f"error: {name}: " in output
    assert "Traceback" not in output


def test_a_port_in_use_is_said(pipeline: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, output = ends_with(start(pipeline, PORT=str(port)))
    assert code == 1
    assert f"error: PORT: {port} on 127.0.0.1" in output
    assert "Traceback" not in output
