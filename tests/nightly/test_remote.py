"""DVC with an emulated bucket: altered and missing objects are found and replaced."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.cloud import storage

from common.errors import InputError
from deploy.doctor import examine
from deploy.google import NAMING
from tests.conftest import ROOT, Project
from tests.deploy.conftest import no_cloud
from tests.gcs import Cloud

TRICKY = [b"", b"\r", b"\n", b"end\r\n", b"\r\n\r\n", b"\n--==0==--", b"\r\n--==0==\r\n", b"\0\r"]


@dataclass(frozen=True)
class Clone(Project):
    """A repository with this one's remote, on a machine that knows no cloud but the emulated."""

    url: str

    def environment(self, **extra: str) -> dict[str, str]:
        emulator = {"STORAGE_EMULATOR_HOST": self.url, "GOOGLE_APPLICATION_CREDENTIALS": ""}
        return super().environment(**emulator, **no_cloud(self.folder), **extra)

    def status(self) -> str:
        return self.run("dvc", "status", "--cloud").stdout.strip()

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
    folder = tmp_path / "first"
    clone = Clone(folder, tmp_path / "first-site-cache", cloud.url)
    (folder / ".dvc").mkdir(parents=True)
    for name in (".dvc/config", ".dvc/.gitignore"):
        shutil.copyfile(ROOT / name, folder / name)
    clone.run("git", "init", "--quiet")
    clone.run("git", "config", "user.name", "Tester")
    clone.run("git", "config", "user.email", "tester@example.com")
    for command in NAMING:
        clone.run(*command.format(bucket="bucket").split())
    (folder / "data").mkdir()
    for number, content in enumerate(TRICKY):
        (folder / f"data/{number}").write_bytes(content)
    return clone


def oid(path: Path) -> str:
    """Name the object in the bucket that holds a file."""
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return f"dvc/files/md5/{digest[:2]}/{digest[2:]}"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".gitignore"}


Ask = Callable[[Clone], str]


@pytest.fixture
def doctor(robot: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Return the doctor's line, or error, about the contents."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)

    def contents(clone: Clone) -> str:
        monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(clone.site_cache))
        try:
            return list(examine(clone.folder))[-1].partition(" ")[2].strip()
        except InputError as error:
            return str(error)

    return contents


def mend(clone: Clone, advice: str, bucket: storage.Bucket) -> None:
    """Run the commands that the doctor advises."""
    removal, _, push = advice.rpartition(": ")[2].partition("; ")
    for url in removal.removeprefix("gcloud storage rm ").split():
        bucket.blob(url.removeprefix("gs://bucket/")).delete()
    clone.run(*push.split())


COMPLETE = "complete, but for 0 outputs that are not pushed yet"


def test_an_altered_object_is_refused_and_replaced(
    first: Clone, bucket: storage.Bucket, doctor: Ask
) -> None:
    first.run("dvc", "add", "data")
    assert doctor(first).startswith("complete, but for 1 outputs")
    first.run("dvc", "push")
    assert doctor(first) == COMPLETE
    second, trusting = first.clone("second"), first.clone("trusting")
    bucket.blob(oid(first.folder / "data/3")).upload_from_string(b"evil")
    trusting.run("dvc", "remote", "modify", "--local", "storage", "verify", "false")
    trusting.run("dvc", "pull")  # what `verify` is for
    assert (trusting.folder / "data/3").read_bytes() == b"evil"
    refused = second.run("dvc", "pull", check=False)
    assert refused.returncode != 0
    assert not (second.folder / "data/3").exists()
    advice = doctor(first)
    assert advice.startswith("data/3 is altered")
    mend(first, advice, bucket)
    second.run("dvc", "pull")
    assert files(second.folder / "data") == files(first.folder / "data")
    listing = next(blob for blob in bucket.list_blobs() if blob.name.endswith(".dir"))
    listing.upload_from_string(b"[]")
    advice = doctor(first)
    assert advice.startswith("data is altered")
    mend(first, advice, bucket)
    assert doctor(first) == COMPLETE


def test_a_missing_member_is_found_and_replaced(
    first: Clone, bucket: storage.Bucket, doctor: Ask
) -> None:
    first.run("dvc", "add", "data")
    first.run("dvc", "push")
    second = first.clone("second")
    bucket.blob(oid(first.folder / "data/5")).delete()
    assert first.status() == "Cache and remote 'storage' are in sync."  # DVC does not notice
    advice = doctor(second)
    assert advice.startswith("data/5 is missing")
    mend(first, advice, bucket)
    assert doctor(first) == COMPLETE
    second.run("dvc", "pull")
    assert files(second.folder / "data") == files(first.folder / "data")


def test_a_second_clone_trains_nothing(
    pipeline: Project, first: Clone, cloud: Cloud, tmp_path: Path
) -> None:
    clones = []
    for name in ("trained", "fresh"):
        clone = Clone(tmp_path / name, tmp_path / f"{name}-site-cache", cloud.url)
        pipeline.run("git", "clone", "--quiet", ".", str(clone.folder))
        for command in NAMING:
            clone.run(*command.format(bucket="bucket").split())
        clones.append(clone)
    trained, fresh = clones
    trained.run("dvc", "cache", "dir", "--local", str(pipeline.folder / ".dvc/cache"))
    trained.run("dvc", "push")
    fresh.run("dvc", "pull")
    repeated = fresh.run("dvc", "repro")
    assert "Running stage" not in repeated.stdout
    assert "up to date" in repeated.stdout
    for name in ("classifier", "checkpoint"):
        assert files(fresh.folder / "models" / name) == files(pipeline.folder / "models" / name)
    assert fresh.run("git", "status", "--porcelain").stdout == ""
