"""What the repository says of itself is true."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from experiments.repository import find_stale
from stages.prepare.duplicates import find_duplicates
from tests.conftest import CORPUS, ROOT

yaml = YAML(typ="safe")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
STAGES = ("prepare", "distill", "train", "export", "evaluate")


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports when it runs."""
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def run(*command: str) -> str:
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return process.stdout


def modules_behind(path: Path) -> set[str]:
    """Return every file of this project that running `path` reads as code."""
    names, waiting = set(), [path]
    while waiting:
        current = waiting.pop()
        name = current.relative_to(ROOT).as_posix()
        if name not in names:
            names.add(name)
            candidates = (ROOT / f"{module.replace('.', '/')}.py" for module in imports(current))
            waiting += [c for c in candidates if c.is_file() and c.is_relative_to(ROOT)]
    return names


def test_no_benchmark_has_the_tests_restricted_instructions() -> None:
    """tests/conftest.py restricts this process and its children to AVX2, as exact stages do."""
    files = (ROOT / "tests/bench").glob("*.py")
    assert [path.name for path in files if "tests/conftest.py" in modules_behind(path)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_it_runs_and_on_no_other_room(stage: str) -> None:
    deps = yaml.load(ROOT / "dvc.yaml")["stages"][stage]["deps"]
    code = [dep for dep in deps if not dep.startswith(("$", "data/", "models/"))]
    modules = {
        name
        for name in modules_behind(ROOT / "stages" / stage / "stage.py")
        if not name.startswith("common/")  # decides no byte of an output
    } | {"stages/__main__.py"}
    missing = {m for m in modules if not any(m == dep or m.startswith(f"{dep}/") for dep in code)}
    assert missing == set()
    unused = {dep for dep in code if not any(m == dep or m.startswith(f"{dep}/") for m in modules)}
    assert unused == set()


# What stands on what: a package imports of this project itself and those named here, no other.
FLOORS: dict[str, set[str]] = {
    "common": set(),
    "locked": {"common"},
    "reader": {"common", "locked"},
    "serve": {"common", "locked"},
    "stages": {"common", "locked", "reader"},
    "score": {"common", "locked", "reader"},
    "monitor": {"common", "locked", "reader"},
    "experiments": {"common", "locked", "reader", "stages"},
    "deploy": {"common", "experiments", "locked", "monitor", "reader", "stages"},
}


@pytest.mark.parametrize("package", FLOORS)
def test_a_package_stands_on_those_below(package: str) -> None:
    used = {
        module.partition(".")[0]
        for path in (ROOT / package).rglob("*.py")
        for module in imports(path)
    }
    assert used & FLOORS.keys() - {package} <= FLOORS[package]
    assert "tests" not in used


def test_every_package_has_a_floor() -> None:
    packages = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in packages} == FLOORS.keys()
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"} == FLOORS.keys()


@pytest.mark.parametrize(
    ("modules", "foreign"),
    [
        ("locked.classifier, locked.store", ["torch", "transformers", "litserve", "gcsfs"]),
        ("serve.server, serve.__main__", ["torch", "transformers", "pandas", "sklearn", "onnx"]),
        ("score.__main__", ["torch", "transformers", "pandas", "sklearn", "apache_beam"]),
    ],
)
def test_what_answers_loads_nothing_heavy(modules: str, foreign: list[str]) -> None:
    code = f"import sys, {modules}; print([m for m in {foreign} if m in sys.modules])"
    assert run(sys.executable, "-c", code) == "[]\n"


def test_the_lock_is_of_these_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    locked, defined = (YAML(typ="safe").load(ROOT / name) for name in ("dvc.lock", "dvc.yaml"))
    assert locked["stages"].keys() == defined["stages"].keys()
    assert find_stale(missing=False) == [], "run `make repro`"


def test_the_results_are_those_of_the_locked_run() -> None:
    path = "models/evaluation/model_card.md"
    readme = (ROOT / "README.md").read_text()
    # a run on another kind of machine may differ in the last digits, and leaves the README as it is
    cards = (ROOT / path).read_text(), run("git", "show", f"HEAD:./{path}")
    tables = [card.partition("## Results")[2].partition("\n|")[2] for card in cards]
    assert any(table.partition("\n\n")[0] in readme for table in tables)


def test_every_requirement_is_pinned_and_explained() -> None:
    lines = (ROOT / "constraints.txt").read_text().lower().split()
    pinned = {match[1] for line in lines if (match := re.fullmatch(r"([\w.-]+)==[\w.]+", line))}
    assert len(pinned) == len(lines)
    extras = PROJECT["project"]["optional-dependencies"]
    needed = (each for extra in extras.keys() - {"beam"} for each in extras[extra])
    names = {re.split(r"[^\w.-]", each)[0] for each in needed} - {"disaster-tweets"}
    assert len(names) > 20
    assert {name.lower() for name in names} <= pinned | {name.replace("_", "-") for name in pinned}
    assert names <= set(re.findall(r"[\w.-]+\w", (ROOT / "docs/dependencies.md").read_text()))


def test_beams_lock_differs_from_the_other_where_it_must() -> None:
    ours, beams = (
        dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / name).read_text().lower(), re.M))
        for name in ("constraints.txt", "score/constraints.txt")
    )
    extras = PROJECT["project"]["optional-dependencies"]
    needed = {name.partition(";")[0] for name in extras["score"]} | {"apache-beam"}
    assert needed <= beams.keys()
    shared = ours.keys() & beams.keys()
    assert {name for name in shared if ours[name] != beams[name]} == {"protobuf", "pyarrow"}
    image = f"apache/beam_python3.11_sdk:{beams['apache-beam']}"
    assert f"ARG BEAM={image}\n" in (ROOT / "score/Dockerfile").read_text()


class TestCorpus:
    """The shipped tweets are what their card says."""

    tweets = pd.read_csv(CORPUS, dtype=str, keep_default_na=False)
    texts, keywords = tweets["text"], tweets["keyword"]
    is_disaster = tweets["target"] == "1"

    def test_size_and_shares(self) -> None:
        card = " ".join((ROOT / "data/README.md").read_text().split())
        assert len(self.tweets) >= 2000
        assert 0.40 < self.is_disaster.mean() < 0.46
        share = round(100 * self.is_disaster.mean())
        assert f"{len(self.tweets)} tweets in English, {share} % of which" in card

    def test_texts_are_tweets(self) -> None:
        length = self.texts.str.len()
        assert length.max() <= 280
        assert (length < 50).mean() > 0.1
        assert (length > 140).mean() > 0.2
        assert set(self.texts.str.extractall(r"https?://([^/\s]+)")[0]) == {"t.example"}

    @pytest.mark.parametrize(
        "mark", [r"https?://", "#", "@", "&amp;", r"[\U0001F300-\U0001FAFF]", r"\b[A-Z]{5,}\b"]
    )
    def test_style_gives_nothing_away(self, mark: str) -> None:
        shares = self.texts.str.contains(mark).groupby(self.is_disaster).mean()
        assert shares.min() > 0.4 * shares.max() > 0

    def test_many_kinds_of_event_and_their_words_elsewhere(self) -> None:
        kinds = self.keywords[self.is_disaster & (self.keywords != "")].value_counts()
        assert (kinds >= 3).sum() >= 60
        others = self.keywords[~self.is_disaster]
        assert (others != "").mean() > 0.5
        assert others.isin(kinds.index).mean() > 0.3

    def test_no_contrast_pair_is_in_it(self) -> None:
        pairs = pd.read_csv(ROOT / "data/pairs/english.csv")["text"]
        near = find_duplicates(pa.chunked_array([pa.array([*self.texts, *pairs])]), seed=0).near
        assert not {*near[: len(self.texts)]} & {*near[len(self.texts) :]}

    def test_blanks_duplicates_and_conflicts_occur(self) -> None:
        assert (self.tweets[["keyword", "location"]] == "").mean().min() > 0.1
        bare = self.texts.str.lower().str.replace(r"https?://\S+|@\w+|\W", "", regex=True)
        labels = self.tweets.groupby(bare)["target"].agg(["size", "nunique"])
        assert (labels["size"] > 1).sum() >= 10
        assert (labels["nunique"] > 1).sum() >= 3
