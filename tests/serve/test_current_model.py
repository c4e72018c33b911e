"""Another model takes the place of the one in use, and a bad one does not."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from locked.manifest import verify
from tests.serve.here import Here, Serve

KEY = {"X-API-Key": "only-for-the-tests-of-reload"}


@pytest.fixture
def own(serve: Serve, classifier_folder: Path) -> Iterator[Here]:
    with serve(MODEL_URI=str(classifier_folder), ADMIN_KEY=KEY["X-API-Key"]) as server:
        yield server


def reload(server: Here, **body: bool) -> httpx.Response:
    return server.post("/reload", body, headers=KEY)


def in_use(server: Here) -> str:
    version = server.get("/info").json()["model"]["version"]
    assert server.metric(f'model_info{{version="{version}"}}') == 1
    assert server.predict({"text": "fire"})["model"] == version
    return str(version)


def test_a_model_follows_and_the_one_before_comes_back(
    own: Here, classifier_folder: Path, eager: Path
) -> None:
    first, second = verify(classifier_folder).version, verify(eager).version
    nothing = reload(own, previous=True)
    assert (nothing.status_code, in_use(own)) == (409, first)
    assert "there is no previous model" in nothing.json()["detail"]
    shutil.copytree(eager, classifier_folder, dirs_exist_ok=True)
    (classifier_folder / "lost+found").mkdir()
    assert reload(own).json() == {"model": second, "previous": first}
    assert (in_use(own), own.get("/info").json()["previous"]) == (second, first)
    assert own.predict({"text": "cake"})["label"] == "disaster"  # by its threshold
    assert own.metric(f'model_info{{version="{first}"}}') == 0
    assert reload(own, previous=True).json() == {"model": first, "previous": second}
    assert in_use(own) == first
    copies = {path.name for path in own.server.model.store.folder.iterdir()}
    assert copies >= {first, second}


def test_a_bad_model_changes_nothing(own: Here, classifier_folder: Path, confused: Path) -> None:
    place, manifest = classifier_folder, classifier_folder / "manifest.json"
    first, rejected = verify(place).version, own.metric('model_swaps_total{outcome="rejected"}')
    shutil.copytree(confused, place, dirs_exist_ok=True)
    answer = reload(own)
    assert answer.status_code == 409
    assert answer.json()["detail"].startswith(f"{manifest}: golden")
    with (place / "network.onnx").open("ab") as file:
        file.write(b"more")
    manifest.write_text(manifest.read_text().replace("0.25", "0.26"))
    assert reload(own).json()["detail"].startswith(f"{place}/network.onnx has been altered")
    shutil.rmtree(place)
    assert "manifest.json is missing" in reload(own).json()["detail"]
    assert in_use(own) == first
    assert own.metric('model_swaps_total{outcome="rejected"}') == rejected + 3


def test_without_its_key_nobody_reloads(own: Here, server: Here) -> None:
    for headers in ({}, {"X-API-Key": "x"}, {"Authorization": "Bearer x"}):
        assert own.post("/reload", {}, headers=headers).status_code == 401
    assert server.post("/reload", {}, headers=KEY).status_code == 404
