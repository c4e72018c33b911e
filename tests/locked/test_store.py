"""Models come from folders and buckets, and are whole or not there."""

import os
import shutil
from pathlib import Path

import pytest
from google.cloud import storage

from locked.manifest import LockedModelError, verify
from locked.store import ModelStore
from tests.gcs import Cloud


@pytest.fixture
def bucket(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> storage.Bucket:
    """An emulated bucket, empty."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
    return cloud.client().create_bucket("models")


def upload(bucket: storage.Bucket, folder: Path, prefix: str) -> None:
    for file in folder.iterdir():
        bucket.blob(f"{prefix}/{file.name}").upload_from_filename(file, checksum=None)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder for copies."""
    (folder := tmp_path / "own").mkdir()
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


def test_a_folder_is_copied_once_and_copies_out_of_use_go(
    classifier_folder: Path, own: Path
) -> None:
    store = ModelStore(f"{classifier_folder}/", own)
    (classifier_folder / "lost+found").mkdir(mode=0)  # as on a volume of its own
    copy = store.fetch()
    (classifier_folder / "lost+found").rmdir()
    assert copy.parent == own
    assert names(copy) == names(classifier_folder)
    (classifier_folder / "network.onnx").unlink()
    assert store.fetch() == copy  # it has what the manifest names
    verify(copy)
    second = Path(shutil.copytree(copy, own / "second"))
    (own / "workers.sock").touch()
    store.keep({second})
    assert {path.name for path in own.iterdir()} == {"second", "workers.sock"}


def test_an_altered_one_leaves_no_copy(classifier_folder: Path, own: Path) -> None:
    os.truncate(classifier_folder / "network.onnx", 10)
    with pytest.raises(LockedModelError, match=f"^{classifier_folder}/network.onnx has been al"):
        ModelStore(str(classifier_folder), own).fetch()
    assert list(own.iterdir()) == []


def test_a_bucket_gives_the_same_bytes(
    bucket: storage.Bucket, classifier_folder: Path, tmp_path: Path
) -> None:
    upload(bucket, classifier_folder, "best/model")
    copy = ModelStore("gs://models/best/model/", tmp_path).fetch()
    for file in classifier_folder.iterdir():
        assert (copy / file.name).read_bytes() == file.read_bytes()
    assert ModelStore("gs://models/best/model", tmp_path).manifest() == verify(classifier_folder)


def test_what_a_bucket_lacks_is_named(
    bucket: storage.Bucket, classifier_folder: Path, own: Path
) -> None:
    (classifier_folder / "network.onnx").unlink()
    upload(bucket, classifier_folder, "broken")
    with pytest.raises(LockedModelError, match=r"^gs://models/broken/network.onnx: no such"):
        ModelStore("gs://models/broken", own).fetch()
    with pytest.raises(LockedModelError, match=r"^gs://models/manifest.json is missing"):
        ModelStore("gs://models", own).fetch()
    assert list(own.iterdir()) == []
