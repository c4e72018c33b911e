"""DVC with an emulated bucket: altered and missing objects are refused and replaced."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.cloud import storage

from deploy.google import REMOTE_COMMANDS
from tests.conftest import ROOT, Project
from tests.deploy.conftest import no_cloud
from tests.gcs import Cloud

TRICKY = [b"", b"\r", b"\n", b"end\r\n", b"\r\n\r\n", b"\n--==0==--", b"\r\n--==0==\r\n", b"\0\r"]


@dataclass(frozen=True)
class Clone(Project):
    """A repository on a machine that knows no cloud but the emulated one."""

    url: str

    def environment(self, **extra: str) -> dict[str, str]:
        emulator = {"STORAGE_EMULATOR_HOST": self.url, "GOOGLE_APPLICATION_CREDENTIALS": ""}
        return super().environment(**emulator, **no_cloud(self.folder), **extra)

    def name_bucket(self) -> None:
        for command in REMOTE_COMMANDS:
            self.run(*command.format(bucket="bucket").split())

    def clone(self, name: str) -> "Clone":
        """Clone what is committed; the place of the remote is not."""
        folder = self.folder.with_name(name)
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "more")
        self.run("git", "clone", "--quiet", ".", str(folder))
        shutil.copyfile(self.folder / ".dvc/config.local", folder / ".dvc/config.local")
        return Clone(folder, folder.with_name(f"{name}-site-cache"), self.url)


@pytest.fixture
def bucket(cloud: Cloud) -> storage.Bucket:
    return cloud.client().create_bucket("bucket")


@pytest.fixture
def first(cloud: Cloud, bucket: storage.Bucket, tmp_path: Path) -> Clone:
    """A repository with a folder of some files."""
    clone = Clone(tmp_path / "first", tmp_path / "first-site-cache", cloud.url)
    (clone.folder / ".dvc").mkdir(parents=True)
    for name in (".dvc/config", ".dvc/.gitignore"):
        shutil.copyfile(ROOT / name, clone.folder / name)
    clone.start_git()
    clone.name_bucket()
    (clone.folder / "data").mkdir()
    for number, content in enumerate(TRICKY):
        (clone.folder / f"data/{number}").write_bytes(content)
    clone.run("dvc", "add", "data")
    return clone


def oid(path: Path) -> str:
    """Name the object in the bucket that holds a file."""
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return f"dvc/files/md5/{digest[:2]}/{digest[2:]}"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".gitignore"}


def test_an_altered_or_missing_object_is_refused_and_replaced(
    first: Clone, bucket: storage.Bucket
) -> None:
    first.run("dvc", "push")
    second = first.clone("second")
    altered, missing = (bucket.blob(oid(first.folder / f"data/{number}")) for number in (3, 5))
    altered.upload_from_string(b"evil")
    missing.delete()
    assert "are in sync" in first.run("dvc", "status", "--cloud").stdout  # DVC does not notice
    assert second.run("dvc", "pull", check=False).returncode != 0
    assert not (second.folder / "data/3").exists()
    assert "data/3" in second.run("dvc", "status", "--cloud").stdout
    listing = next(blob for blob in bucket.list_blobs() if blob.name.endswith(".dir"))
    for blob in (altered, listing):  # as docs/sharing.md says
        blob.delete()
    first.run("dvc", "push")
    second.run("dvc", "pull")
    assert files(second.folder / "data") == files(first.folder / "data")


def test_a_second_clone_trains_nothing(
    pipeline: Project, bucket: storage.Bucket, cloud: Cloud, tmp_path: Path
) -> None:
    trained, fresh = (
        Clone(tmp_path / name, tmp_path / f"{name}-site-cache", cloud.url)
        for name in ("trained", "fresh")
    )
    for clone in (trained, fresh):
        pipeline.run("git", "clone", "--quiet", ".", str(clone.folder))
        clone.name_bucket()
    trained.run("dvc", "cache", "dir", "--local", str(pipeline.folder / ".dvc/cache"))
    trained.run("dvc", "push")
    fresh.run("dvc", "pull")
    repeated = fresh.run("dvc", "repro")
    assert "Running stage" not in repeated.stdout
    assert "up to date" in repeated.stdout
    for name in ("classifier", "checkpoint"):
        assert files(fresh.folder / "models" / name) == files(pipeline.folder / "models" / name)
    assert fresh.run("git", "status", "--porcelain").stdout == ""
