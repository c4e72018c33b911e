"""A quick pipeline for all tests: the same code, a tiny base model, a part of the corpus."""

import fcntl
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.shared import arithmetic

# As a stage's process is, before anything that computes is loaded.
os.environ.update(arithmetic.ENVIRONMENT)

import pandas as pd
import pytest
import torch
from playwright.sync_api import Browser, expect, sync_playwright
from ruamel.yaml import YAML
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from common.errors import run
from common.hashing import sha256_of
from stages.shared.base_model import FILES
from tests.gcs import Cloud, running

# A script's background job ignores Ctrl-C, and whatever the tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
pytest_plugins = ["tests.skips"]
ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "data" / "tweets.csv"
ROWS = 1200
VOCABULARY = 1500  # words
# The first begins. While it makes the trained pipeline, the other process runs files without it;
# then come the longest, so that the processes end together.
LONG = ("test_readme", "test_job", "test_places", "test_platforms")
# Whatever needs one of these fixtures is slow.
SLOW = {"source", "pipeline", "browser", "cloud", "trained_toy"}
HANG = 600  # seconds, after which nothing is merely slow
NOWHERE = "http://127.0.0.1:9"  # nothing listens there: a call to the outside fails
NOBODY = 12345
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    # The Python of this test run may lie in a home; writing is up to the files' modes.
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


@pytest.hookimpl(tryfirst=True)  # before the marks choose
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Mark what is slow, and put the files in an order in which no process waits."""
    for item in items:
        if SLOW & set(item.fixturenames):
            item.add_marker("slow")
    order = os.environ.get("TEST_ORDER")  # of files: reversed, or a seed; see tests/soak.py
    if order == "reversed":
        items.sort(key=lambda item: item.path, reverse=True)
    elif order:
        items.sort(key=lambda item: hashlib.sha256(f"{order} {item.path}".encode()).digest())
    else:
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        place = {name: number for number, name in enumerate(LONG)}
        items.sort(
            key=lambda item: (
                item.path.stem != LONG[0],
                item.path in slow,
                place.get(item.path.stem, len(LONG)),
            )
        )


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: compressed ones hold the time, and names must not differ."""
    return argname if isinstance(val, bytes) else None


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Let writes beyond some bytes fail during the block, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@dataclass(frozen=True)
class Project:
    """A git and DVC repository of its own, with the code of this one."""

    folder: Path
    site_cache: Path

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        process = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            text=True,
            capture_output=True,
            timeout=HANG,
            check=False,
        )
        if check:
            assert process.returncode == 0, process.stdout + process.stderr
        return process

    def environment(self, **extra: str) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("DVC_")},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": "",
            "DVC_SITE_CACHE_DIR": str(self.site_cache),
            "HTTP_PROXY": NOWHERE,
            "HTTPS_PROXY": NOWHERE,
            "NO_PROXY": "127.0.0.1",
            **extra,
        }

    def start_git(self) -> None:
        self.run("git", "init", "--quiet", "--initial-branch=main")
        self.run("git", "config", "user.name", "Tester")
        self.run("git", "config", "user.email", "tester@example.com")

    def params(self) -> dict[str, Any]:
        return dict(YAML(typ="safe").load(self.folder / "params.yaml"))

    def set_params(self, params: dict[str, Any]) -> None:
        YAML(typ="safe").dump(params, self.folder / "params.yaml")

    def lock(self) -> dict[str, Any]:
        return dict(YAML(typ="safe").load(self.folder / "dvc.lock"))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes share, and all runs with the same variable."""
    if name := os.environ.get("DISASTER_TWEETS_TESTS"):
        return Path(name)
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Return a folder that only the first process to ask for it makes."""
    with Path(f"{folder}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (marker := Path(f"{folder}.made")).exists():
            folder.mkdir()
            try:
                make(folder)
            except BaseException:
                shutil.rmtree(folder)
                raise
            marker.touch()
    return folder


@pytest.fixture(scope="session")
def source(shared_folder: Path) -> Path:
    """The first rows of the shipped corpus."""
    tweets = pd.read_csv(CORPUS, dtype=str, keep_default_na=False).head(ROWS)
    folder = once(
        shared_folder / "source", lambda to: tweets.to_csv(to / "tweets.csv", index=False)
    )
    return folder / "tweets.csv"


@pytest.fixture(scope="session")
def base_model(shared_folder: Path, source: Path) -> Path:
    """A BERT of 2 layers and 32 units, with a WordPiece tokenizer of its own."""
    return once(shared_folder / "base-model", lambda folder: make_base_model(folder, source))


def make_base_model(folder: Path, source: Path) -> None:
    """Write the base model: the same bytes for the same tweets."""
    texts = [*pd.read_csv(source)["text"], "http @user"]
    tokenizer = Tokenizer(models.WordPiece(word_pieces(texts), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    size = {"vocab_size": tokenizer.get_vocab_size(), "hidden_size": 32, "intermediate_size": 64}
    config = BertConfig(**size, num_hidden_layers=2, num_attention_heads=2, pad_token_id=0)
    BertModel(config).save_pretrained(folder)


def word_pieces(texts: list[str]) -> dict[str, int]:
    """Return a vocabulary: all characters, and the most frequent words.

    The trainers of `tokenizers` give another one in each process.
    """
    lower, split = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = Counter(
        word for text in texts for word, _ in split.pre_tokenize_str(lower.normalize_str(text))
    )
    characters = sorted({character for word in words for character in word})
    frequent = sorted(words, key=lambda word: (-words[word], word))[:VOCABULARY]
    pieces = [*characters, *(f"##{character}" for character in characters), *frequent]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    return {piece: number for number, piece in enumerate(dict.fromkeys([*special, *pieces]))}


def make_project(folder: Path, source: Path, base_model: Path) -> Project:
    """Copy the repository's files, as git has them, to a new repository with quick params."""
    project = Project(folder, folder.with_name(f"{folder.name}-site-cache"))
    listed = Project(ROOT, project.site_cache).run(
        "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "dvc.lock")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    shutil.copyfile(source, folder / "data" / "tweets.csv")
    params = project.params()
    params["model"] = {
        "name": str(base_model),
        "sha256": {part: sha256_of(base_model / name) for part, name in FILES.items()},
        "max_length": 64,
    }
    params["distill"]["folds"] = 3
    params["train"] |= {"epochs": 4, "patience": 2, "lr": 0.003, "batch_size": 16}
    # The tiny base model has learnt nothing yet, so its word vectors must.
    params["train"] |= {"freeze_embeddings": False, "dropout": 0.1}
    params["runtime"]["checkpoint_steps"] = 20
    params["export"]["calibration_rows"] = 50
    minimum = dict.fromkeys(["accuracy", "f1", "roc_auc"], 0.0)
    params["evaluate"] |= {"bootstrap": 100, "minimum": minimum}
    project.set_params(params)
    project.start_git()
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "start")
    return project


def exit_status(main: Callable[[], None]) -> tuple[int, str]:
    """Run a command in this process; return its status and the message that Python prints last."""
    try:
        run(main)
    except SystemExit as end:
        return (1, end.code) if isinstance(end.code, str) else (int(end.code or 0), "")
    return 0, ""


def copied(project: Project, folder: Path) -> Project:
    """Copy a project with its DVC cache: what it has run needs no second run."""
    shutil.copytree(project.folder, folder, symlinks=True)
    return Project(folder, folder.with_name(f"{folder.name}-site-cache"))


def lend_environment(folder: Path) -> None:
    """Give a clone the environment of this test run as its .venv."""
    (venv := folder / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if part.name != ".ready":
            (venv / part.name).symlink_to(part)
    (venv / ".ready").touch()


def make_pipeline(folder: Path, source: Path, base_model: Path) -> None:
    project = make_project(folder, source, base_model)
    project.run("dvc", "repro")
    project.run("git", "add", "--all")
    project.run("git", "commit", "--quiet", "--message", "run")


@pytest.fixture(scope="session")
def pipeline(
    shared_folder: Path, source: Path, base_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project after `dvc repro`. Shared by a process: whoever changes it puts it back."""
    folder = once(
        shared_folder / "trained", lambda folder: make_pipeline(folder, source, base_model)
    )
    return copied(Project(folder, folder), tmp_path_factory.mktemp("pipeline") / "project")


@pytest.fixture(scope="module")  # its event loop would stop asyncio.run in other modules
def browser() -> Iterator[Browser]:
    names = ("chromium", "google-chrome", "chromium-browser")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None and not os.environ.get("CI"):
        pytest.skip(f"none of {', '.join(names)} is installed")
    expect.set_options(timeout=HANG * 1000)
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=arguments)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    """An emulated Google Cloud Storage, empty."""
    with running() as cloud:
        yield cloud


@pytest.fixture
def classifier_folder(pipeline: Project, tmp_path: Path) -> Path:
    """A copy of the locked model, to be spoilt."""
    return Path(shutil.copytree(pipeline.folder / "models" / "classifier", tmp_path / "classifier"))


@pytest.fixture
def unchanged(pipeline: Project, tmp_path: Path) -> Iterator[Project]:
    """The shared project, put back afterwards."""
    speed = pipeline.folder / "models/speed"  # which neither Git nor DVC keeps
    shutil.copytree(speed, tmp_path / "speed")
    yield pipeline
    shutil.rmtree(speed, ignore_errors=True)
    shutil.copytree(tmp_path / "speed", speed)
    pipeline.run("git", "checkout", "--quiet", "--force", "HEAD", "--", ".")
    pipeline.run("dvc", "checkout", "--quiet")  # a stage that failed has removed its outputs
