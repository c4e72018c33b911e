"""Check what clouds and GitHub read by the tools that know it; nobody logs in, nothing is sent.

The package index is asked whether every platform finds what it is to install, built.

    python -m deploy.check

Where a tool is missing its line says how to get it, and the rest is checked all the same. With the
variable CI, a missing tool counts as a failure, but for gcloud, which no package index has.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ruamel.yaml import YAML

HERE = Path(__file__).parent
GCLOUD = "https://cloud.google.com/sdk/docs/install"
# The oldest system of each kind that all packages are built for, as uv names it.
PLATFORMS = {
    "Linux, x86-64": "x86_64-manylinux_2_28",
    "Linux, arm64": "aarch64-manylinux_2_35",
    "macOS, arm64": "aarch64-apple-darwin",
}
MACOS = "14.0"
PYTHONS = ("3.11", "3.12", "3.13")
PURE = "antlr4-python3-runtime"  # in Python alone, and published as source alone


@dataclass(frozen=True)
class Check:
    """A command that judges files: see checks.yaml."""

    name: str
    command: tuple[str, ...]
    files: tuple[str, ...]
    get: str = "make setup"
    by_pattern: bool = False
    absent: str = ""
    praise: str = ""


@dataclass(frozen=True)
class Finding:
    """What came of a check: None if its tool is missing."""

    check: Check
    passed: bool | None
    says: str


def checks() -> Iterator[Check]:
    """Yield the checks of checks.yaml, with the commands of this machine."""
    gcloud = shutil.which("gcloud")
    modules = str(Path(gcloud).resolve().parents[1] / "lib") if gcloud else ""
    # Without site-packages, which have other versions of some of gcloud's modules.
    python = (sys.executable if gcloud else "gcloud", "-S")
    defined = (*python, str(HERE / "definitions.py"), modules)
    for listed in YAML(typ="safe").load(HERE / "checks.yaml"):
        command = tuple(listed.pop("command", "").split())
        command = command or (*defined, *listed.pop("definition").split())
        yield Check(**listed | {"command": command, "files": tuple(listed["files"])})


def wheels() -> Iterator[Check]:
    """Yield a check for every platform and Python: that each package is there, built for it."""
    resolve = (
        *("uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
        *("--constraint=constraints.txt", "--extra=dev", "--extra=bench"),
        *(f"--python={sys.executable}", "--no-python-downloads"),
        *("--only-binary=:all:", f"--no-binary={PURE}"),
    )
    for platform, tag in PLATFORMS.items():
        for python in PYTHONS:
            on = (f"--python-platform={tag}", f"--python-version={python}")
            name = f"packages for {platform}, Python {python}"
            files, absent = ("pyproject.toml",), "Failed to fetch.+"
            yield Check(name, (*resolve, *on), files, absent=absent)


def environment(folder: str) -> dict[str, str]:
    """Return one in which gcloud finds no account, in an empty folder, and reaches nobody."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDSDK_")}
    return own | {
        "CLOUDSDK_CONFIG": folder,
        "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        "CLOUDSDK_CORE_PROJECT": "my-project",
        "CLOUDSDK_PROXY_TYPE": "http",
        "CLOUDSDK_PROXY_ADDRESS": "127.0.0.1",
        "CLOUDSDK_PROXY_PORT": "9",
        "MACOSX_DEPLOYMENT_TARGET": MACOS,
    }


def judge(check: Check, folder: Path, env: dict[str, str]) -> Finding:
    """Make a check in a folder."""
    if not shutil.which(check.command[0]):
        return Finding(check, None, f"{check.command[0]} is missing: {check.get}")
    files = [str(p.relative_to(folder)) for each in check.files for p in sorted(folder.glob(each))]
    if not files:
        return Finding(check, False, f"no file is {' or '.join(check.files)}")
    command = [*check.command, *(check.files if check.by_pattern else files)]
    done = subprocess.run(  # noqa: S603 - no shell
        command, cwd=folder, env=env, text=True, capture_output=True, check=False
    )
    says = f"{done.stdout}{done.stderr}".strip()
    if check.absent and (unfetched := re.search(check.absent, says)):
        return Finding(check, None, f"it is fetched once, and cannot be: {unfetched[0]}")
    passed = check.praise in says if check.praise else done.returncode == 0
    return Finding(check, passed, ", ".join(files) if passed else says)


def examine(folder: Path, wanted: Iterable[Check]) -> list[Finding]:
    """Make checks in a folder, two at a time."""
    with tempfile.TemporaryDirectory() as config, ThreadPoolExecutor(2) as pool:
        return list(pool.map(partial(judge, folder=folder, env=environment(config)), wanted))


def main() -> None:
    """Print what came of each check; exit with 1 if one failed."""
    findings = examine(Path(), [*checks(), *wheels()])
    for finding in findings:
        mark = {True: "ok", False: "FAILED", None: "-"}[finding.passed]
        says = finding.says.replace("\n", f"\n{'':8}")
        print(f"{mark:8}{finding.check.name}: {says}")
    in_ci = bool(os.environ.get("CI"))
    bad = [
        each
        for each in findings
        if each.passed is False or (each.passed is None and in_ci and each.check.get != GCLOUD)
    ]
    if bad:
        sys.exit(f"error: {len(bad)} of {len(findings)} checks failed")


if __name__ == "__main__":
    main()
