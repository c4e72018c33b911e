"""Another model takes the place of the one in use, and a bad one does not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from locked.classifier import Classifier
from locked.manifest import verify
from tests.conftest import Project
from tests.serve.conftest import altered, put
from tests.serve.here import Here, here

KEY = "only-for-the-tests-of-reload"
ADMIN = {"X-API-Key": KEY}


@pytest.fixture
def place(pipeline: Project, tmp_path: Path) -> Path:
    """Where a server looks for its model."""
    return altered(pipeline.folder / "models/classifier", tmp_path / "place")


@pytest.fixture
def own(classifier: Classifier, place: Path, tmp_path: Path) -> Iterator[Here]:
    with here(classifier, tmp_path, MODEL_URI=str(place), ADMIN_KEY=KEY) as server:
        yield server


def reload(server: Here, **body: bool) -> httpx.Response:
    return httpx.post(f"{server.url}/reload", json=body, headers=ADMIN, timeout=60)


def version(server: Here) -> str:
    return str(httpx.post(f"{server.url}/predict", json={"text": "fire"}).json()["model"])


def test_a_model_follows_and_the_one_before_comes_back(own: Here, place: Path, eager: Path) -> None:
    first, second = verify(place).version, verify(eager).version
    nothing = reload(own, previous=True)
    assert (nothing.status_code, version(own)) == (409, first)
    assert "no other model" in nothing.json()["detail"]
    put(eager, place)
    (place / "lost+found").mkdir()
    assert reload(own).json() == {"model": second, "previous": first}
    assert version(own) == second
    answer = httpx.post(f"{own.url}/predict", json={"text": "cake"}).json()
    assert answer["label"] == "disaster"  # by the eager one's threshold
    info = httpx.get(f"{own.url}/info").json()
    assert (info["model"]["version"], info["previous"]) == (second, first)
    assert own.metric(f'model_info{{version="{second}"}}') == 1
    assert own.metric(f'model_info{{version="{first}"}}') == 0
    assert reload(own, previous=True).json() == {"model": first, "previous": second}
    assert version(own) == first
    copies = {path.name for path in own.server.model.store.folder.iterdir()}
    assert copies >= {first, second}


def test_a_bad_model_changes_nothing(own: Here, place: Path, confused: Path) -> None:
    first, rejected = verify(place).version, own.metric('model_swaps_total{outcome="rejected"}')
    put(confused, place)
    answer = reload(own)
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith(f"{place}/manifest.json: golden")
    with (place / "network.onnx").open("ab") as file:
        file.write(b"more")
    (place / "manifest.json").write_text(
        (place / "manifest.json").read_text().replace("0.25", "0.26")
    )
    assert reload(own).json()["detail"].startswith(f"{place}/network.onnx has been altered")
    shutil.rmtree(place)
    assert "manifest.json is missing" in reload(own).json()["detail"]
    assert version(own) == first
    assert own.metric('model_swaps_total{outcome="rejected"}') == rejected + 3


def test_without_its_key_nobody_reloads(own: Here, server: Here) -> None:
    for headers in ({}, {"X-API-Key": "x"}, {"Authorization": "Bearer x"}):
        answer = httpx.post(f"{own.url}/reload", json={}, headers=headers)
        assert answer.status_code == 401
        assert KEY not in answer.text
    assert httpx.post(f"{server.url}/reload", json={}, headers=ADMIN).status_code == 404
