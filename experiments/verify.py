"""Reproduce all outputs of dvc.lock from scratch, and compare them.

    python -m experiments.verify

Clones the last commit to a temporary folder, runs every stage there, regardless of DVC's cache,
and names each output whose bytes differ from dvc.lock.
"""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from common.errors import InputError, run
from common.git import changed_files, git
from experiments.repository import Run, check_readable, command_line, shorten
from stages.train.machine import processor


def remake(folder: Path) -> dict[str, list[str]]:
    """Run the last commit's pipeline in a clone; return the outputs that differ, by stage.

    Raises:
        InputError: the last commit has no dvc.lock, or a stage fails.

    """
    head = Run("HEAD")
    if not (lock := head.yaml("dvc.lock")):
        raise InputError("dvc.lock: the last commit has none to compare with: `make repro` first")
    top, here = git("rev-parse", "--show-toplevel", "--show-prefix").splitlines()
    git("clone", "--quiet", "--no-tags", top, str(folder / "clone"))
    clone = folder / "clone" / here
    if _run([sys.executable, "-m", "dvc", "repro", "--force"], clone):
        raise InputError("dvc repro failed; its message is above")
    expected, actual = hashes(lock), hashes(YAML(typ="safe", pure=True).load(clone / "dvc.lock"))
    return {
        stage: sorted(
            path for path, md5 in expected[stage].items() if actual[stage].get(path) != md5
        )
        for stage in head.yaml("dvc.yaml")["stages"]
        if stage in expected
    }


def hashes(lock: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the MD5 of each output that a dvc.lock names, by stage."""
    return {
        stage: {out["path"]: out["md5"] for out in of.get("outs", [])}
        for stage, of in lock["stages"].items()
    }


def _run(command: list[str], folder: Path) -> int:
    """Run a command with this Python first; its processes end when this one is ended."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(  # noqa: S603 - no shell
        command, cwd=folder, env={**os.environ, "PATH": path}, start_new_session=True
    ) as process:
        try:
            return process.wait()
        except BaseException:  # Ctrl-C too
            os.killpg(process.pid, signal.SIGKILL)
            raise


def main() -> None:
    """Print a line for each stage; the status is 1 where an output differs."""
    command_line("verify", __doc__).parse_args()
    check_readable()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if changed := changed_files():
        print(f"the last commit is verified, without the changes to {shorten(changed)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        differing = remake(Path(folder))
    print(f"\non {processor()}")
    for stage, paths in differing.items():
        print(f"{stage:10}{'differs: ' + ', '.join(paths) if paths else 'equal'}")
    if first := next((stage for stage, paths in differing.items() if paths), None):
        sys.exit(f"outputs differ from dvc.lock, first in {first}; later stages follow from it")
    print("every output has the bytes of dvc.lock")


if __name__ == "__main__":
    run(main)
