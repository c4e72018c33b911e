"""A quick program does what it does as a process of its own."""

import os
import shutil
import subprocess

import pytest

from tests.conftest import Project
from tests.warm import warm

COMMANDS = {
    "dvc": ["dvc status", "cd / && dvc status"],
    "gcloud": ["gcloud config get project", "gcloud no"],
    "python": [
        "echo '[1]' | python -m json.tool | python -c 'print(input())'",
        "python -m experiments.promote 'a b'",
    ],
}


@pytest.mark.parametrize("program", COMMANDS)
def test_it_says_and_returns_the_same(pipeline: Project, program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"no {program} here")
    own = pipeline.environment(CLOUDSDK_CONFIG=str(pipeline.folder / ".dvc/tmp/gcloud"))
    quick = own | {"PATH": f"{warm(program)}{os.pathsep}{own['PATH']}"}
    for command in COMMANDS[program]:
        said = [
            subprocess.run(
                ["bash", "-c", command],
                cwd=pipeline.folder,
                env=environment,
                text=True,
                capture_output=True,
                check=False,
            )
            for environment in (own, quick, quick)  # the second one finds modules loaded
        ]
        assert len({(done.returncode, done.stdout, done.stderr) for done in said}) == 1, said
