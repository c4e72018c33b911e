"""Lines are whole or absent, and a folder does not grow without end."""

import errno
import os
from pathlib import Path

import pytest

from serve import log_output
from serve.log_output import Folder, FullError
from tests.serve.running import logged


def test_a_full_disk_drops_and_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real, room = os.write, [1000]

    def little(file: int, content: bytes) -> int:
        taken = min(len(content), room[0])
        room[0] -= taken
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(file, content[:taken])

    monkeypatch.setattr(os, "write", little)
    folder, before = Folder(tmp_path), b'{"id": 1}\n'
    folder.write(before)
    for _ in range(2):
        with pytest.raises(OSError, match=r"[Nn]o space left"):
            folder.write(b"x" * 1200 + b"\n")
    room[0] = 10_000
    folder.write(b'{"id": 2}\n')
    assert [line["id"] for line in logged(tmp_path)] == [1, 2]


def test_files_are_rotated_and_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(log_output, "FILE_SIZE", 30)
    monkeypatch.setattr(log_output, "FOLDER_SIZE", 100)
    folder = Folder(tmp_path)
    for number in range(10):
        folder.write(b'{"id": %d}\n' % number)
    assert len(list(tmp_path.glob("*.jsonl"))) == 4
    with pytest.raises(FullError):
        folder.write(b'{"id": 10}\n')
    for file in sorted(tmp_path.glob("*.jsonl"))[:2]:  # they are collected
        file.unlink()
    folder.write(b'{"id": 11}\n')
    assert logged(tmp_path)[-1]["id"] == 11


def test_a_file_that_is_taken_away_is_followed_by_another(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write(b'{"id": 1}\n')
    (first,) = tmp_path.glob("*.jsonl")
    first.rename(tmp_path / "collected")
    folder.write(b'{"id": 2}\n')
    assert [line["id"] for line in logged(tmp_path)] == [2]
    assert (tmp_path / "collected").read_text() == '{"id": 1}\n'


def test_a_file_that_is_collected_meanwhile_costs_no_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = tmp_path / "predictions-gone.jsonl"
    listed = [gone]  # by a glob that another process's removal overtakes
    monkeypatch.setattr(Path, "glob", lambda *_args: iter(listed))
    Folder(tmp_path).write(b'{"id": 1}\n')
    monkeypatch.undo()
    assert [line["id"] for line in logged(tmp_path)] == [1]
