"""Whether the package index has every pinned package, built, for each platform and Python."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# The oldest system of each kind that all packages are built for, as uv names it.
PLATFORMS = {
    "Linux on x86-64": "x86_64-manylinux_2_28",
    "Linux on arm64": "aarch64-manylinux_2_35",
    "macOS on arm64": "aarch64-apple-darwin",
}
PURE = "antlr4-python3-runtime"  # in Python alone, and published as source alone


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_package_is_built_for(platform: str, python: str) -> None:
    resolve = (
        *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
        *("--constraint=constraints.txt", "--extra=dev", "--extra=bench", "pyproject.toml"),
        *(f"--python={sys.executable}", "--no-python-downloads", "--only-binary=:all:"),
        *(f"--no-binary={PURE}", f"--python-platform={PLATFORMS[platform]}"),
        f"--python-version={python}",
    )
    environment = os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
    command = [sys.executable, "-m", *resolve]
    resolution = subprocess.run(
        command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False
    )
    assert resolution.returncode == 0, resolution.stderr
