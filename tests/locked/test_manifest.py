"""A locked model with anything altered is refused, and the file is named."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from locked.manifest import NETWORK, TOKENIZER, LockedModelError, Manifest, verify
from tests.conftest import Project


def test_a_changed_byte_is_found_and_a_missing_file_is_named(classifier_folder: Path) -> None:
    (classifier_folder / "lost+found").mkdir(mode=0)  # as on a volume of its own: ignored
    for name in ("network.onnx", "tokenizer.json"):
        path = classifier_folder / name
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
        with pytest.raises(LockedModelError, match=f"{re.escape(str(path))} has been altered"):
            verify(classifier_folder)
        path.write_bytes(content)
    verify(classifier_folder)
    for name, message in ((NETWORK, f"missing: {NETWORK}"), ("manifest.json", "json is missing")):
        (classifier_folder / name).unlink()
        with pytest.raises(LockedModelError, match=message):
            verify(classifier_folder)


def test_a_wrong_field_is_named(classifier_folder: Path) -> None:
    path = classifier_folder / "manifest.json"
    manifest = json.loads(path.read_text())
    wrong: dict[str, dict[str, Any]] = {
        "threshold: ": {"threshold": 2},
        "calibration.scale: ": {"calibration": {"scale": 0, "shift": 0}},
        "files.../outside": {"files": {"../outside": "0" * 64}},
        f"files: {TOKENIZER} is not listed": {"files": {NETWORK: "0" * 64}},
        "motto: ": {"motto": "be brief"},
    }
    for place, change in wrong.items():
        path.write_text(json.dumps(manifest | change))
        with pytest.raises(LockedModelError, match=f"manifest.json: {re.escape(place)}"):
            verify(classifier_folder)


@pytest.mark.parametrize(
    ("name", "value", "renames"),
    [
        ("threshold", 0.25, True),
        ("max_length", 8, True),
        ("calibration", {"scale": 9, "shift": 0}, True),
        ("files", {NETWORK: "0" * 64}, True),
        ("files", {TOKENIZER: "0" * 64}, True),
        ("files", {"reference.json": "0" * 64}, False),
        ("metrics", {"accuracy": 0.5}, False),
    ],
)
def test_the_version_follows_what_decides_an_answer(
    pipeline: Project, name: str, value: object, renames: bool
) -> None:
    manifest = verify(pipeline.folder / "models/classifier")
    values = manifest.model_dump()
    values[name] = values[name] | value if name == "files" else value
    assert (Manifest.model_validate(values).version != manifest.version) is renames
    assert re.fullmatch("[0-9a-f]{12}", manifest.version)
