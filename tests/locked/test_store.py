"""Models come from folders and buckets, and are whole or not there."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from locked.manifest import LockedModelError, verify
from locked.store import ModelStore
from tests.gcs import Cloud


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
    store.keep(second)
    assert {path.name for path in own.iterdir()} == {"second", "workers.sock"}


def test_an_altered_one_leaves_no_copy(classifier_folder: Path, own: Path) -> None:
    os.truncate(classifier_folder / "network.onnx", 10)
    with pytest.raises(LockedModelError, match=f"^{classifier_folder}/network.onnx has been al"):
        ModelStore(str(classifier_folder), own).fetch()
    assert list(own.iterdir()) == []


def test_a_full_folder_of_copies_is_named(
    classifier_folder: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("locked.store.verify", fill)
    with pytest.raises(LockedModelError, match=f"No space left.* in {own}. Set TMPDIR to a larger"):
        ModelStore(str(classifier_folder), own).fetch()


def test_a_bucket_gives_the_same_bytes_and_what_it_lacks_is_named(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, classifier_folder: Path, own: Path
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
    bucket = cloud.client().create_bucket("models")
    for file in classifier_folder.iterdir():
        bucket.blob(f"best/model/{file.name}").upload_from_filename(file, checksum=None)
    store = ModelStore("gs://models/best/model/", own)
    copy = store.fetch()
    for file in classifier_folder.iterdir():
        assert (copy / file.name).read_bytes() == file.read_bytes()
    assert store.manifest() == verify(classifier_folder)
    store.keep(own / "none")
    bucket.blob("best/model/network.onnx").delete()
    with pytest.raises(LockedModelError, match=r"^gs://models/best/model/network.onnx: no such"):
        store.fetch()
    with pytest.raises(LockedModelError, match=r"^gs://models/manifest.json is missing"):
        ModelStore("gs://models", own).fetch()
    assert list(own.iterdir()) == []
