"""The container images: checked as text everywhere, built and run where buildah and podman are.

They are built over a local python:3.11-slim; the model inside is that of the quick pipeline.
"""

import ast
import concurrent.futures
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import httpx
import pytest
from ruamel.yaml import YAML

from locked.manifest import MANIFEST, NETWORK, read_manifest
from tests.conftest import HANG, ROOT, Project
from tests.serve.running import LEAVE, Running, free_port, wait_until
from tests.test_repository import modules_behind

BASE = "docker.io/library/python:3.11-slim"
USER = "65532"
MARK = b"planted-5f0e7c1b"
SECRETS = (
    *(".aws/credentials", ".dvc/cache/files/md5/5f/0e7c1b", ".dvc/config.local", ".dvc/tmp/key"),
    *(".env", ".git/credentials", ".netrc", ".ssh/id_rsa", "Dockerfile.key", "key.json"),
    *("constraints.txt.key", "data/feedback.jsonl", "data/prepared/key.json", "dvc.yaml.key"),
    *("data/tweets.csv.dvc", "deploy/accelerate/key.json", "deploy/accelerate/key/a.yaml"),
    *("deploy/key.json", "models/checkpoints/key.json", "models/evaluation/key.json"),
    *("models/promoted/key.json", "models/wandb/key", "params.yaml.key", "score/key.json"),
    *("serve/.env", "serve/key.json", "serve/key/a.py", "serve/page/.env", "serve/page/key.json"),
    *("stages/.env", "stages/key.json", "stages/key/a.py", "tests/key.json"),
)


def run(*command: str, check: bool = True, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | {"PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if check:
        assert process.returncode == 0, process.stdout
    return process


def pip_from_outside(place: Path) -> list[str]:
    """Give a build this machine's settings of pip, without leaving anything of it in the image."""
    lines, paths = ["[global]"], {str(place / "pip.conf"): "/etc/pip.conf"}
    for line in run(sys.executable, "-m", "pip", "config", "list").stdout.splitlines():
        name, _, quoted = line.partition("=")
        value = str(ast.literal_eval(quoted))
        lines.append(f"{name.rpartition('.')[2]} = {value}")
        # The files of a file:// index may lie beside it.
        words = [re.sub(r"^file://(.*)/.*", r"\1", word) for word in value.split()]
        paths |= {word: word for word in words if word.startswith("/")}
    (place / "pip.conf").write_text("\n".join(dict.fromkeys(lines)))
    return [f"--volume={path}:{target}:ro" for path, target in paths.items()]


def build(context: Path, file: str, *options: str, check: bool = True) -> str:
    """Build an image, and return the output."""
    usual = "--layers --isolation=chroot --network=host --pull-never --format=docker"
    command = ["buildah", "bud", *usual.split(), "--timestamp=0", f"--file={context / file}"]
    process = run(*command, *options, str(context), check=check)
    assert check or process.returncode != 0
    return process.stdout


def layers(image: str) -> list[str]:
    return list(json.loads(run("podman", "image", "inspect", image).stdout)[0]["RootFS"]["Layers"])


def contents(image: str, archive: Path, base_layers: int) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file in the layers above the base."""
    run("podman", "save", "--quiet", "--format=docker-archive", f"--output={archive}", image)
    with tarfile.open(archive) as saved:
        manifest = saved.extractfile("manifest.json")
        assert manifest
        for name in json.load(manifest)[0]["Layers"][base_layers:]:
            with tarfile.open(fileobj=saved.extractfile(name)) as layer:
                for member in layer:
                    file = layer.extractfile(member) if member.isfile() else None
                    if file:
                        yield member.name, file.read()


@contextmanager
def container(image: str, log: Path, *options: str) -> Iterator[tuple[Running, str]]:
    """Run a server as a service would: no root, no capability, nothing to write to but /tmp."""
    port, name = free_port(), f"test-{uuid.uuid4().hex}"
    limits = "--read-only --read-only-tmpfs=false --tmpfs=/tmp --cap-drop=all --memory=512m"
    command = ["podman", "run", "--rm", f"--name={name}", "--network=host", f"--env=PORT={port}"]
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *limits.split(), *options, image],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = Running(process, port, log)
        server.wait_until_ready()
        yield server, name
    finally:
        run("podman", "rm", "--force", "--ignore", name)
        process.wait(timeout=HANG)


def sent(name: str) -> bool:
    """Tell whether .dockerignore lets a file through; the last line that matches it decides."""
    through = True
    path = PurePosixPath(name)
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.lstrip("!").split("/")
        for part in (path, *path.parents):
            if len(part.parts) == len(pattern) and all(map(fnmatch.fnmatch, part.parts, pattern)):
                through = line.startswith("!")
    return through


def version_of(context: Path) -> str:
    return read_manifest(context / "models/classifier" / MANIFEST).version


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="session")
def context(pipeline: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project after a run, with secrets lying about."""
    folder = tmp_path_factory.mktemp("images") / "context"
    shutil.copytree(pipeline.folder, folder)
    for name in SECRETS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(MARK)
    return folder


@pytest.fixture
def changed(context: Path, tmp_path: Path) -> Path:
    """A copy of the context to spoil."""
    leave_out = shutil.ignore_patterns(".git", "cache", "checkpoint")
    return Path(shutil.copytree(context, tmp_path / "changed", ignore=leave_out))


@pytest.fixture(scope="session")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a build needs from outside, where one is possible."""
    for tool in ("buildah", "podman"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    if run("podman", "image", "exists", BASE, check=False).returncode:
        pytest.skip(f"no local {BASE} to build on")
    return pip_from_outside(tmp_path_factory.mktemp("pip"))


@contextmanager
def built(context: Path, file: str, *options: str) -> Iterator[str]:
    """Build an image, and remove it at the end of the block."""
    name = f"localhost/test-{uuid.uuid4().hex}"
    build(context, file, *options, f"--tag={name}")
    yield name
    run("podman", "rmi", "--force", name)


@pytest.fixture(scope="session")
def serve_image(context: Path, mounts: list[str]) -> Iterator[str]:
    labels = ("--build-arg=COMMIT=c0ffee", f"--build-arg=MODEL={version_of(context)}")
    with built(context, "Dockerfile.serve", *mounts, *labels) as image:
        yield image


@pytest.fixture(scope="session")
def train_image(context: Path, mounts: list[str]) -> Iterator[str]:
    with built(context, "Dockerfile.train", *mounts) as image:
        yield image


def test_only_what_images_need_is_sent(context: Path) -> None:
    names = {name for name in files(context) if sent(name)}
    tracked = set(run("git", "ls-files", cwd=context).stdout.split())
    model = {name for name in files(context) if name.startswith("models/classifier/")}
    assert len(model) == 4
    assert not names & set(SECRETS)
    assert names <= tracked | model
    stages = YAML(typ="safe").load(context / "dvc.lock")["stages"].values()
    read = {dep["path"] for stage in stages for dep in stage["deps"]} & tracked
    rooms = ("common/", "locked/", "monitor/", "reader/", "serve/", "stages/", "deploy/accelerate/")
    code = {n for n in tracked if n.startswith(rooms) or fnmatch.fnmatch(n, "score/*[.]py")}
    for path in ("deploy/release/check_model.py", "deploy/train/job.py", "deploy/watch.py"):
        code |= modules_behind(ROOT / path)
    assert names >= model | read | code | {"dvc.yaml", "dvc.lock", "params.yaml", ".dvc/config"}


def test_buildah_reads_the_ignore_file_alike(
    context: Path, mounts: list[str], tmp_path: Path
) -> None:
    (file := tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    with built(context, str(file), *mounts) as image:
        names = {name for name, _ in contents(image, tmp_path / "saved.tar", 0)}
    assert names == {name for name in files(context) if sent(name)}


def spoil(context: Path, file: str) -> None:
    """Alter a file of the model; other facts of its manifest stay true."""
    path = context / "models" / "classifier" / file
    if file == MANIFEST:
        path.write_text(json.dumps(json.loads(path.read_text()) | {"threshold": 0.123}))
    elif path.exists():
        os.truncate(path, path.stat().st_size - 1)
    else:
        path.write_bytes(MARK)


@pytest.mark.parametrize("file", [NETWORK, MANIFEST, "key.json"])
def test_another_model_than_the_locked_one_is_named(changed: Path, file: str) -> None:
    check = (sys.executable, "-m", "deploy.release.check_model")
    version = version_of(changed)
    assert run(*check, version, cwd=changed).stdout == f"{version}\n"
    assert run(*check, "0123", cwd=changed, check=False).returncode == 1
    spoil(changed, file)
    process = run(*check, cwd=changed, check=False)
    assert process.returncode == 1
    assert process.stdout.startswith("error: models/classifier")


def test_a_spoilt_model_stops_the_build(serve_image: str, changed: Path, mounts: list[str]) -> None:
    spoil(changed, NETWORK)
    output = build(changed, "Dockerfile.serve", *mounts, check=False)
    assert f"error: models/classifier/{NETWORK} has been altered" in output


def test_another_build_gives_the_same_layers(
    serve_image: str, changed: Path, mounts: list[str]
) -> None:
    for path in (changed, *changed.rglob("*")):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o700 if path.is_dir() else 0o600)
    with built(changed, "Dockerfile.serve", *mounts, "--no-cache") as again:
        assert layers(again) == layers(serve_image)


def test_layers_of_the_server_hold_nothing_else(serve_image: str, tmp_path: Path) -> None:
    content_of = dict(contents(serve_image, tmp_path / "image.tar", len(layers(BASE))))
    assert [name for name, content in content_of.items() if MARK in content] == []
    app_files = {name for name in content_of if not name.startswith("venv/")}
    packages = {"common", "locked", "models", "serve"}
    assert {"/".join(name.split("/")[:2]) for name in app_files} == {
        f"app/{name}" for name in ("LICENSE", "NOTICE", *packages)
    }
    assert not [name for name in content_of if "/.cache" in name or "site-packages/torch/" in name]
    assert sum(map(len, content_of.values())) < 450e6


def test_layers_of_a_job_hold_nothing_else(train_image: str, tmp_path: Path) -> None:
    tops, names = set(), set()
    for name, content in contents(train_image, tmp_path / "image.tar", len(layers(BASE))):
        tops.add(name.partition("/")[0])
        assert MARK not in content, name
        if name.startswith("home/disaster-tweets/"):
            names.add(name.split("/")[2])
    assert tops == {"home", "venv"}
    assert not names & {".git", "models", "tests", ".venv"}
    assert {"dvc.yaml", "locked", "reader", "stages", "data"} <= names


def test_the_labels_of_the_server_name_commit_and_model(serve_image: str, context: Path) -> None:
    config = json.loads(run("podman", "image", "inspect", serve_image).stdout)[0]["Config"]
    assert config["Labels"]["org.opencontainers.image.revision"] == "c0ffee"
    assert config["Labels"]["org.opencontainers.image.version"] == version_of(context)
    assert {"HOST=0.0.0.0", "PORT=8080"} <= set(config["Env"])
    assert config["User"] == f"{USER}:{USER}"


def test_it_answers_unprivileged_and_read_only(
    serve_image: str, context: Path, tmp_path: Path
) -> None:
    with container(serve_image, tmp_path / "log", "--cpus=1") as (server, name):
        answer = httpx.post(f"{server.url}/predict", json={"text": "flood"}).json()
        assert answer["model"] == version_of(context)
        verdict = httpx.post(
            f"{server.url}/feedback", json={**answer, "text": "flood", "right": True}
        )
        assert verdict.is_success, verdict.text
        assert run("podman", "exec", name, "id", "-u").stdout.strip() == USER
        count = "from locked.cpus import cpus; print(cpus())"
        assert run("podman", "exec", name, "python", "-c", count).stdout == "1\n"
        assert "Read-only" in run("podman", "exec", name, "touch", "/app/x", check=False).stdout
        assert run("podman", "healthcheck", "run", name).returncode == 0
        assert "telemetry" not in server.output()


def test_an_end_answers_what_was_accepted(serve_image: str, tmp_path: Path) -> None:
    with (
        container(serve_image, tmp_path / "log", "--user=12345") as (server, _),
        concurrent.futures.ThreadPoolExecutor() as pool,
    ):
        body = {"instances": [{"text": f"fire on street {n}"} for n in range(1000)]}
        requests = [
            pool.submit(httpx.post, f"{server.url}/predict", json=body, timeout=HANG)
            for _ in range(2)
        ]
        assert wait_until(lambda: server.metric("queued_tweets") > 500)
        start = time.monotonic()
        output = server.stop()
        assert time.monotonic() - start < LEAVE
        assert server.process.returncode == 0, output
        assert "Forcibly" not in output
        assert [future.result().status_code for future in requests] == [200, 200]


def test_a_job_makes_the_same_model(
    train_image: str, pipeline: Project, base_model: Path, tmp_path: Path
) -> None:
    shutil.copytree(base_model, weights := tmp_path / "base-model")
    for path in (weights, *weights.iterdir()):
        path.chmod(0o755)
    mount = f"--volume={weights}:{base_model}:ro"
    command = "id -u && python -m deploy.train.job >&2 && cat dvc.lock"
    job = subprocess.run(
        ["podman", "run", "--rm", "--network=none", mount, train_image, "sh", "-c", command],
        text=True,
        capture_output=True,
        check=False,
    )
    assert job.returncode == 0, job.stdout + job.stderr
    user, _, lock = job.stdout.partition("\n")
    assert user == USER
    assert job.stderr.count("Running stage") == len(pipeline.lock()["stages"])
    assert YAML(typ="safe").load(lock) == pipeline.lock()


def test_a_job_uses_a_mounted_clone(train_image: str, pipeline: Project, tmp_path: Path) -> None:
    shutil.copytree(pipeline.folder, clone := tmp_path / "clone")
    user = f"--user={os.getuid()}:{os.getgid()}"
    command = ["podman", "run", "--rm", "--network=none", "--read-only", "--read-only-tmpfs=false"]
    mounts = ("--tmpfs=/tmp", f"--volume={clone}:/home/disaster-tweets")
    job = run(*command, *mounts, user, train_image, "dvc", "repro")
    assert "up to date" in job.stdout
