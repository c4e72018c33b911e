"""DVC's own commands against an emulated bucket: nothing is lost, nothing altered gets through."""

import hashlib
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.cloud import storage

from deploy.check.doctor import Case, examine
from deploy.google import NAMING
from tests.conftest import HANG, ROOT, Project
from tests.gcs import Cloud
from tests.serve.running import wait_until

TRICKY = [b"", b"\r", b"\n", b"end\r\n", b"\r\n\r\n", b"\n--==0==--", b"\r\n--==0==\r\n", b"\0\r"]


@dataclass(frozen=True)
class Clone(Project):
    """A repository with this one's remote, on a machine that knows no cloud but the emulated."""

    url: str

    def environment(self, **extra: str) -> dict[str, str]:
        settings = {
            "STORAGE_EMULATOR_HOST": self.url,
            "GOOGLE_APPLICATION_CREDENTIALS": "",
            "CLOUDSDK_CONFIG": str(self.folder / "no-gcloud"),
            "NO_GCE_CHECK": "true",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        }
        return super().environment(**settings, **extra)

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


def repository(folder: Path, url: str) -> Clone:
    """Make a repository with a folder of some files."""
    clone = Clone(folder, folder.with_name(f"{folder.name}-site-cache"), url)
    (folder / ".dvc").mkdir(parents=True)
    for name in (".dvc/config", ".dvc/.gitignore"):
        shutil.copyfile(ROOT / name, folder / name)
    config = "[core]\n    remote = storage\n['remote \"storage\"']\n    url = gs://bucket/dvc\n"
    (folder / ".dvc/config.local").write_text(f"{config}    verify = true\n")  # as NAMING does
    clone.run("git", "init", "--quiet")
    clone.run("git", "config", "user.name", "Tester")
    clone.run("git", "config", "user.email", "tester@example.com")
    (folder / "data").mkdir()
    for number, content in enumerate(TRICKY):
        (folder / f"data/{number}").write_bytes(content)
    return clone


@pytest.fixture
def first(cloud: Cloud, bucket: storage.Bucket, tmp_path: Path) -> Clone:
    return repository(tmp_path / "first", cloud.url)


def oid(path: Path) -> str:
    """Name the object in the bucket that holds a file."""
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return f"dvc/files/md5/{digest[:2]}/{digest[2:]}"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".gitignore"}


Ask = Callable[..., tuple[str, str]]


@pytest.fixture
def doctor(robot: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask what the doctor says of the contents, and the fix."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", cloud.url)

    def contents(clone: Clone, *, repair: bool = False) -> tuple[str, str]:
        monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(clone.site_cache))
        says = {name: (says, fix) for name, says, fix in examine(Case(clone.folder, repair))}
        return says["contents"]

    return contents


@pytest.fixture(scope="module", autouse=True)
def push_to_nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A push while the server is down; DVC tries for half a minute, so others go on meanwhile."""
    clone = repository(tmp_path_factory.mktemp("down") / "first", "http://127.0.0.1:9")
    clone.run("dvc", "add", "data")
    with subprocess.Popen(
        ["dvc", "push"],
        cwd=clone.folder,
        env=clone.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("content", TRICKY)
def test_the_client_gives_back_what_it_took(bucket: storage.Bucket, content: bytes) -> None:
    blob = bucket.blob("folder/object")
    blob.upload_from_string(content)
    assert blob.download_as_bytes() == content
    assert blob.size == len(content)
    blob.delete()
    assert list(bucket.list_blobs()) == []


def test_much_comes_back_after_a_push_that_was_killed(first: Clone, cloud: Cloud) -> None:
    chance = random.Random(0)  # noqa: S311
    for number in range(len(TRICKY), 1000):
        size = chance.randrange(2000)
        (first.folder / f"data/{number}").write_bytes(chance.randbytes(size) + b"\r")
    (first.folder / "large").write_bytes(chance.randbytes(100_000_000))
    first.run("dvc", "add", "data", "large")
    with subprocess.Popen(
        ["dvc", "push", "--quiet"],
        cwd=first.folder,
        env=first.environment(),
        start_new_session=True,
    ) as push:
        assert wait_until(lambda: sum("POST /upload" in r for r in cloud.requests) > 100)
        push.send_signal(signal.SIGKILL)
    held = sum(1 for _ in cloud.client().list_blobs("bucket"))
    assert 50 < held < 1002
    assert "in sync" not in first.status()
    first.run("dvc", "push")
    assert first.status() == "Cache and remote 'storage' are in sync."
    second = first.clone("second")
    second.run("dvc", "pull")
    assert files(second.folder / "data") == files(first.folder / "data")
    assert (second.folder / "large").read_bytes() == (first.folder / "large").read_bytes()


def test_an_altered_object_is_refused_and_repaired(
    first: Clone, bucket: storage.Bucket, doctor: Ask
) -> None:
    first.run("dvc", "add", "data")
    first.run("dvc", "push")
    assert doctor(first) == ("whole", "")
    bucket.blob(oid(first.folder / "data/3")).upload_from_string(b"evil")
    assert doctor(first)[0] == "data/3 is altered"
    second = first.clone("second")
    trusting = first.clone("trusting")
    trusting.run("dvc", "remote", "modify", "--local", "storage", "verify", "false")
    trusting.run("dvc", "pull")  # what `verify` is for
    assert (trusting.folder / "data/3").read_bytes() == b"evil"
    assert doctor(first, repair=True) == ("1 objects sent again; now whole", "")
    bucket.blob(oid(first.folder / "data/3")).upload_from_string(b"evil")
    refused = second.run("dvc", "pull", check=False)
    assert refused.returncode != 0
    assert not (second.folder / "data/3").exists()
    assert doctor(first, repair=True) == ("1 objects sent again; now whole", "")
    second.run("dvc", "pull")
    assert files(second.folder / "data") == files(first.folder / "data")
    listing = next(blob for blob in bucket.list_blobs() if blob.name.endswith(".dir"))
    listing.upload_from_string(b"[]")
    assert doctor(first)[0] == "data is altered"
    assert doctor(first, repair=True) == ("1 objects sent again; now whole", "")


def test_a_missing_member_is_found_and_repaired(
    first: Clone, bucket: storage.Bucket, doctor: Ask
) -> None:
    first.run("dvc", "add", "data")
    assert doctor(first) == ("whole; 1 of 1 outputs not pushed yet", "")
    first.run("dvc", "push")
    second = first.clone("second")
    bucket.blob(oid(first.folder / "data/5")).delete()
    assert first.status() == "Cache and remote 'storage' are in sync."  # so says DVC
    assert doctor(first) == (
        "data/5 is missing",
        "python -m deploy.check.doctor --repair, where they are in the cache",
    )
    assert doctor(second, repair=True) == (
        "data/5 is missing",
        "repair from where they were pushed: this cache lacks them",
    )
    cached = first.folder / ".dvc/cache" / oid(first.folder / "data/5").removeprefix("dvc/")
    good = cached.read_bytes()
    cached.chmod(0o644)
    cached.write_bytes(b"evil")
    cached.chmod(0o444)  # which DVC takes for a sign that nothing has changed
    assert doctor(first, repair=True)[0] == "data/5 is missing"
    cached.chmod(0o644)
    cached.write_bytes(good)
    assert doctor(first, repair=True) == ("1 objects sent again; now whole", "")
    second.run("dvc", "pull")
    assert files(second.folder / "data") == files(first.folder / "data")


def test_what_no_revision_needs_is_collected(first: Clone, bucket: storage.Bucket) -> None:
    first.run("dvc", "add", "data")
    first.run("dvc", "push")
    old = oid(first.folder / "data/3")
    (first.folder / "data/3").write_bytes(b"new")
    first.run("dvc", "add", "data")
    first.run("dvc", "push")
    assert bucket.blob(old).exists()
    first.run("dvc", "gc", "--workspace", "--cloud", "--force")
    assert not bucket.blob(old).exists()
    assert bucket.blob(oid(first.folder / "data/3")).exists()
    assert first.status() == "Cache and remote 'storage' are in sync."


def test_data_comes_from_a_bucket(first: Clone, bucket: storage.Bucket) -> None:
    bucket.blob("raw/tweets.csv").upload_from_string(b"text,target\r\nfire,1\r")
    first.run("dvc", "import-url", "gs://bucket/raw/tweets.csv")
    assert (first.folder / "tweets.csv").read_bytes() == b"text,target\r\nfire,1\r"
    bucket.blob("raw/tweets.csv").upload_from_string(b"text,target\r\nflood,1\r")
    first.run("dvc", "update", "tweets.csv.dvc")
    assert (first.folder / "tweets.csv").read_bytes() == b"text,target\r\nflood,1\r"


def test_no_bucket(first: Clone, bucket: storage.Bucket, doctor: Ask) -> None:
    bucket.delete()
    first.run("dvc", "add", "data")
    pushed = first.run("dvc", "push", check=False)
    assert pushed.returncode != 0
    assert doctor(first) == ("not checked", "")


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


@pytest.mark.slow
def test_a_server_that_is_down(push_to_nobody: subprocess.Popen[str]) -> None:
    output, _ = push_to_nobody.communicate(timeout=HANG)
    assert push_to_nobody.returncode != 0
    assert "Cannot connect to host 127.0.0.1:9" in output
