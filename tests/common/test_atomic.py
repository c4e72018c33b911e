"""Outputs are whole or absent."""

import errno
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from common.atomic import new_file, new_folder
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


@pytest.mark.parametrize("new", [new_file, new_folder])
def test_the_error_of_a_full_disk_names_the_output(
    new: Callable[[Path], AbstractContextManager[Path]], tmp_path: Path
) -> None:
    with pytest.raises(OSError, match=r"No space left on device: '.*/out'"), new(tmp_path / "out"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(BrokenPipeError) as other, new(tmp_path / "out"):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    assert other.value.filename is None
    assert not [*tmp_path.iterdir()]
