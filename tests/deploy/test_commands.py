import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("module", "status", "words"),
    [
        ("deploy", 0, "create the resources that are missing"),
        ("deploy.release.smoke", 0, "whatever http_proxy and no_proxy are"),
        (
            "deploy.release.images",
            2,
            "error: deploy.release.images is no command; python -m deploy",
        ),
        ("deploy.train.vm", 2, "error: deploy.train.vm is no command"),
        ("deploy.release", 1, "cannot be directly executed"),
    ],
)
def test_a_module_is_a_command_or_says_that_it_is_none(
    module: str, status: int, words: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    assert words in done.stdout + done.stderr
