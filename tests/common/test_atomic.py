"""Outputs are whole or absent."""

import json
from pathlib import Path

import pytest

from common.atomic import new_folder
from stages.shared.outputs import write_json


def test_a_folder_appears_only_when_complete(tmp_path: Path) -> None:
    target, draft = tmp_path / "out", tmp_path / ".out.tmp"
    (draft / "half").mkdir(parents=True)  # by a killed run
    with new_folder(target) as folder:
        (folder / "a").write_text("new")
        assert not target.exists()
    with pytest.raises(KeyError), new_folder(target) as folder:
        (folder / "a").write_text("newer")
        raise KeyError
    assert {*tmp_path.rglob("*")} == {target, target / "a"}
    assert (target / "a").read_text() == "new"


def test_json_that_cannot_be_written_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
