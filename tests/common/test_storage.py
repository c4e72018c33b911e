"""One API over a local folder, an emulated bucket and fsspec's memory."""

import errno
import itertools
import os
import stat
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fsspec
import pytest
from fsspec.registry import _registry

from common import storage
from common.errors import InputError
from common.storage import Folder
from tests.gcs import Cloud


@pytest.fixture
def bucket(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)
    cloud.client().create_bucket("archive")
    return Folder("gs://archive/scored/")


@pytest.fixture(params=["path", "file", "memory", "gs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "gs":
        bucket: Folder = request.getfixturevalue("bucket")
        return bucket
    fsspec.filesystem("memory").store.clear()
    urls = {"path": str(tmp_path), "file": f"file://{tmp_path}", "memory": "memory://bucket/out"}
    return Folder(urls[request.param])


def test_each_kind_of_folder_keeps_whole_files(folder: Folder, tmp_path: Path) -> None:
    assert folder.read("run.json") is None
    assert folder.names("blocks") == set()
    for name, content in {"blocks/a.json": b"1\r", "blocks/b": b"", "answers/a": b"3"}.items():
        folder.write(name, content)
        folder.write(name, content)
        assert folder.read(name) == content
    assert folder.names("blocks") == {"a.json", "b"}
    Folder(folder.url).write("blocks/c", b"4")
    assert folder.names("blocks") == {"a.json", "b", "c"}
    folder.download("blocks/a.json", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"1\r"
    with pytest.raises(InputError, match=r"blocks/d: no such file or bucket"):
        folder.download("blocks/d", tmp_path / "copy")


def test_a_local_file_is_replaced_and_drafts_are_not_listed(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    for content in (b"1", b"2"):
        folder.write("run.json", content)
        assert folder.read("run.json") == content
    (tmp_path / ".run.json.1-2.tmp").touch()  # of a killed process
    assert folder.names() == {"run.json"}


def test_an_object_is_never_replaced(cloud: Cloud, bucket: Folder) -> None:
    bucket.write("blocks/a", b"1")
    assert any("ifGenerationMatch=0" in request for request in cloud.requests)
    cloud.refuse("POST", "/upload/", 412, "it exists")  # which the emulator does not check
    bucket.write("blocks/a", b"1")
    memory = Folder("memory://bucket/never")
    memory.write("blocks/a", b"1")
    for folder in (bucket, memory):
        with pytest.raises(InputError, match=rf"^{folder.url}/blocks/a exists with other content"):
            folder.write("blocks/a", b"2")
        assert folder.read("blocks/a") == b"1"


def test_refusals_and_a_missing_bucket_are_one_line_with_the_remedy(
    cloud: Cloud, bucket: Folder
) -> None:
    missing = Folder("gs://no-bucket/out")
    assert missing.read("run.json") is None
    with pytest.raises(InputError, match=r"^gs://no-bucket/out: no such bucket. Create it"):
        missing.write("a", b"1")
    cloud.refuse("GET", "/o", 403, "no right to this")
    cloud.refuse("POST", "/upload/", 403, "no right to this")
    remedy = r"no right to this. Log in \(gcloud auth application-default login\), or [^\n]*$"
    for call in (bucket.read, bucket.names, partial(bucket.write, content=b"1")):
        with pytest.raises(InputError, match=rf"^gs://archive/scored[^\n]*{remedy}"):
            call("a")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)  # imported before
    with pytest.raises(InputError, match=r"^s3://b/c: the package s3fs is missing: .*pip inst"):
        Folder("s3://b/c")


@pytest.mark.parametrize("is_kind", [stat.S_ISDIR, stat.S_ISREG])
def test_a_folder_that_cannot_be_synced_is_used_and_said_once(
    is_kind: Callable[[int], bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    problems = [errno.EIO, errno.ENOTSUP, errno.EACCES, errno.EINVAL]

    def fail(descriptor: int) -> None:
        if is_kind(os.fstat(descriptor).st_mode):
            number = problems.pop()
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr(storage, "failed_syncs", itertools.count())
    folder = Folder(str(tmp_path))
    for name in ("a", "b", "c/d"):
        folder.write(name, b"1")
        assert folder.read(name) == b"1"
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {tmp_path}")
    with pytest.raises(InputError, match=rf"^{tmp_path}/e: Input/output error"):
        folder.write("e", b"1")
