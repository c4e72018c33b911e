"""A module is a command, or names the commands of its package."""

import subprocess
import sys

import pytest

from experiments import COMMANDS
from tests.conftest import ROOT

EXPERIMENTS = ", ".join(f"python -m experiments.{name}" for name in COMMANDS)


@pytest.mark.parametrize(
    ("module", "status", "words"),
    [
        ("deploy", 0, "create the resources that are missing"),
        ("deploy.doctor", 0, "prints a line for each check"),
        ("deploy.train.vm", 2, "no command; the commands are: python -m deploy, "),
        ("deploy.release.smoke", 0, "--model MODEL"),
        ("monitor", 0, "python -m monitor review LOGS"),
        ("monitor.review", 2, "no command; the commands are: python -m monitor\n"),
        ("score", 0, "python -m score tweets.parquet out/"),
        ("score.beam", 2, "no command; the commands are: python -m score\n"),
        ("serve.server", 2, "no command; the commands are: python -m serve\n"),
        ("stages", 2, "usage: python -m stages {prepare,"),
        ("stages.prepare", 2, "no command; the commands are: python -m stages\n"),
        ("reader.table", 2, "no command; README.md names the commands\n"),
        ("locked.store", 2, "no command"),
        ("common.git", 2, "no command"),
        ("experiments", 2, EXPERIMENTS),
        ("experiments.space", 2, EXPERIMENTS),
        ("experiments.promot", 2, EXPERIMENTS),
        *((f"experiments.{name}", 0, f"python -m experiments.{name}") for name in COMMANDS),
    ],
)
def test_a_module_is_a_command_or_says_that_it_is_none(
    module: str, status: int, words: str
) -> None:
    process = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == status
    assert words in process.stdout + process.stderr
