"""What the repository says of itself is true."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from experiments.repository import stale_stages
from tests.conftest import CORPUS, ROOT

yaml = YAML(typ="safe")


STAGES = ("prepare", "distill", "train", "export", "lock", "evaluate")


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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = project["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.rstrip("*") for name in named} == FLOORS.keys()
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"} == FLOORS.keys()


@pytest.mark.parametrize(
    ("modules", "foreign"),
    [
        (["locked.classifier", "locked.store"], ["torch", "transformers", "litserve", "gcsfs"]),
        (
            ["serve.server", "serve.__main__"],
            ["torch", "transformers", "pandas", "sklearn", "onnx"],
        ),
        (["score.__main__"], ["torch", "transformers", "pandas", "sklearn", "apache_beam"]),
    ],
)
def test_what_answers_loads_nothing_heavy(modules: list[str], foreign: list[str]) -> None:
    code = f"import sys, {', '.join(modules)}; print([m for m in {foreign} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_lock_is_of_these_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert stale_stages(missing=False) == [], "run `make repro`"


def test_the_results_are_those_of_the_locked_run() -> None:
    committed = subprocess.run(
        ["git", "show", "HEAD:./models/evaluation/model_card.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    here = (ROOT / "models/evaluation/model_card.md").read_text()
    readme = (ROOT / "README.md").read_text()
    # a run on another kind of machine may differ in the last digits, and leaves the README as it is
    assert any(_figures(card) in readme for card in (here, committed))


def _figures(card: str) -> str:
    return card.partition("## Results")[2].partition("\n|")[2].partition("\n\n")[0]


def test_every_requirement_is_pinned() -> None:
    pinned = set(re.findall(r"^([\w.-]+)==[\w.]+$", (ROOT / "constraints.txt").read_text(), re.M))
    lines = (ROOT / "constraints.txt").read_text().split()
    assert len(pinned) == len(lines)
    names = re.findall(r'^  "([\w.-]+)', (ROOT / "pyproject.toml").read_text(), re.M)
    names = [name for name in names if not name.startswith(("D203", "D213", "D107"))]
    assert len(names) > 20
    lower = {name.lower().replace("_", "-") for name in pinned}
    assert [n for n in names if n.lower() not in lower | {"disaster-tweets"}] == []
    listed = set(re.findall(r"[\w.-]+\w", (ROOT / "docs/dependencies.md").read_text()))
    assert {*names} - listed == {"disaster-tweets"}


def test_beams_lock_differs_from_the_other_where_it_must() -> None:
    ours, beams = (
        dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / name).read_text().lower(), re.M))
        for name in ("constraints.txt", "score/constraints.txt")
    )
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    needed = {name.partition(";")[0] for name in extras["score"]} | {"apache-beam"}
    assert needed <= beams.keys()
    shared = ours.keys() & beams.keys()
    assert {name for name in shared if ours[name] != beams[name]} == {"protobuf", "pyarrow"}
    image = f"apache/beam_python3.11_sdk:{beams['apache-beam']}"
    assert f"ARG BEAM={image}\n" in (ROOT / "score/Dockerfile").read_text()


class TestCorpus:
    """The shipped tweets are what their card says."""

    tweets = pd.read_csv(CORPUS, dtype=str, keep_default_na=False)

    def test_size_and_shares(self) -> None:
        card = (ROOT / "data" / "README.md").read_text()
        share = (self.tweets["target"] == "1").mean()
        assert len(self.tweets) >= 2000
        assert 0.40 < share < 0.46
        assert f"{len(self.tweets)} tweets in English, {share:.0%} of which" in card.replace(
            " %", "%"
        ).replace("\n", " ")

    def test_texts_are_tweets(self) -> None:
        length = self.tweets["text"].str.len()
        assert length.max() <= 280
        assert (length < 50).mean() > 0.1
        assert (length > 140).mean() > 0.2
        links = self.tweets["text"].str.extractall(r"https?://([^/\s]+)")[0]
        assert set(links) == {"t.example"}

    @pytest.mark.parametrize(
        "mark",
        [r"https?://", "#", "@", "&amp;", r"[\U0001F300-\U0001FAFF]", r"\b[A-Z]{5,}\b"],
    )
    def test_style_gives_nothing_away(self, mark: str) -> None:
        has = self.tweets["text"].str.contains(mark)
        share = {target: has[self.tweets["target"] == target].mean() for target in ("0", "1")}
        assert min(share.values()) > 0.4 * max(share.values()) > 0

    def test_many_kinds_of_event(self) -> None:
        disasters = self.tweets[self.tweets["target"] == "1"]
        kinds = disasters.loc[disasters["keyword"] != "", "keyword"].value_counts()
        assert (kinds >= 3).sum() >= 60

    def test_disaster_words_occur_without_disaster(self) -> None:
        words = set(self.tweets.loc[self.tweets["target"] == "1", "keyword"]) - {""}
        others = self.tweets[self.tweets["target"] == "0"]
        assert (others["keyword"] != "").mean() > 0.5
        assert others["keyword"].isin(words).mean() > 0.3

    def test_blanks_duplicates_and_conflicts_occur(self) -> None:
        assert (self.tweets["keyword"] == "").mean() > 0.1
        assert (self.tweets["location"] == "").mean() > 0.1
        bare = self.tweets["text"].str.lower().str.replace(r"https?://\S+|@\w+|\W", "", regex=True)
        labels = self.tweets.groupby(bare)["target"].agg(["size", "nunique"])
        assert (labels["size"] > 1).sum() >= 10
        assert (labels["nunique"] > 1).sum() >= 3
