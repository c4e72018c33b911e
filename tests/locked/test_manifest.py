"""A locked model with anything altered is refused, and the file is named."""

import json
import re
from pathlib import Path

import pytest

from locked.manifest import LockedModelError, verify


@pytest.mark.parametrize("name", ["network.onnx", "tokenizer.json"])
def test_one_changed_byte_is_found(classifier_folder: Path, name: str) -> None:
    path = classifier_folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(LockedModelError, match=f"{re.escape(str(path))} has been altered"):
        verify(classifier_folder)


@pytest.mark.parametrize("name", ["network.onnx", "manifest.json"])
def test_a_missing_file_is_named(classifier_folder: Path, name: str) -> None:
    (classifier_folder / name).unlink()
    with pytest.raises(LockedModelError, match=rf"missing.*{name}|{name} is missing"):
        verify(classifier_folder)


def test_other_files_are_left_alone(classifier_folder: Path) -> None:
    manifest = verify(classifier_folder)
    (classifier_folder / "lost+found").mkdir(mode=0)  # as on a volume of its own
    (classifier_folder / ".DS_Store").write_bytes(b"")
    assert verify(classifier_folder) == manifest


def test_a_manifest_with_a_wrong_field_is_named(classifier_folder: Path) -> None:
    path = classifier_folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"threshold": 2}))
    with pytest.raises(LockedModelError, match=r"manifest.json: threshold: "):
        verify(classifier_folder)
    path.write_text(json.dumps(manifest | {"calibration": {"scale": 0, "shift": 0}}))
    with pytest.raises(LockedModelError, match=r"manifest.json: calibration.scale: "):
        verify(classifier_folder)


def test_a_path_out_of_the_folder_is_refused(classifier_folder: Path) -> None:
    path = classifier_folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["../outside"] = "0" * 64
    path.write_text(json.dumps(manifest))
    with pytest.raises(LockedModelError, match=r"\.\./outside"):
        verify(classifier_folder)


def test_the_version_follows_all_of_the_manifest(classifier_folder: Path) -> None:
    manifest = verify(classifier_folder)
    assert re.fullmatch("[0-9a-f]{12}", manifest.version)
    other = manifest.model_copy(update={"threshold": manifest.threshold / 2})
    assert other.version != manifest.version
    changed = manifest.model_copy(update={"files": manifest.files | {"network.onnx": "0" * 64}})
    assert changed.version != manifest.version
    golden = [manifest.golden[0].model_copy(update={"probability": 0.5}), *manifest.golden[1:]]
    assert manifest.model_copy(update={"golden": golden}).version != manifest.version
