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


def reload(server: Here) -> httpx.Response:
    return server.post("/reload", headers=KEY)


def in_use(server: Here) -> str:
    version = server.get("/info").json()["model"]["version"]
    assert server.metric(f'model_info{{version="{version}"}}') == 1
    assert server.predict({"text": "fire"})["model"] == version
    return str(version)


def test_a_model_follows_and_the_one_before_comes_back(
    own: Here, classifier_folder: Path, eager: Path, tmp_path: Path
) -> None:
    first, second = verify(classifier_folder).version, verify(eager).version
    old = shutil.copytree(classifier_folder, tmp_path / "old")
    shutil.copytree(eager, classifier_folder, dirs_exist_ok=True)
    (classifier_folder / "lost+found").mkdir()
    assert reload(own).json() == {"model": second}
    assert in_use(own) == second
    assert own.predict({"text": "cake"})["label"] == "disaster"  # by its threshold
    assert own.metric(f'model_info{{version="{first}"}}') == 0
    assert reload(own).json() == {"model": second}  # nothing has changed
    shutil.copytree(old, classifier_folder, dirs_exist_ok=True)
    assert reload(own).json() == {"model": first}
    assert in_use(own) == first
    assert [path.name for path in own.server.model.store.folder.glob("*/")] == [first]


def test_a_bad_model_changes_nothing(own: Here, classifier_folder: Path, confused: Path) -> None:
    place, manifest = classifier_folder, classifier_folder / "manifest.json"
    first = verify(place).version
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


def test_without_its_key_nobody_reloads(own: Here, server: Here) -> None:
    for headers in ({}, {"X-API-Key": "x"}, {"Authorization": "Bearer x"}):
        assert own.post("/reload", {}, headers=headers).status_code == 401
    assert server.post("/reload", {}, headers=KEY).status_code == 404
