"""Make all that dvc.lock names again, from nothing, and compare.

    python -m experiments.verify

The last commit is cloned to a temporary folder, and every stage is run there, whatever a cache has.
Says that every output has the bytes of dvc.lock, or which is the first that has others, and on
which processor.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML

from common.errors import InputError, run
from common.git import changed_files, git
from experiments.repository import Run, named
from stages.train.machine import processor


def remake(place: Path) -> Iterator[tuple[str, float, list[str]]]:
    """Run the stages of the last commit in a new folder; stop after the first that differs.

    Yields each stage with its seconds and its outputs whose bytes are not those of dvc.lock.

    Raises:
        InputError: there is nothing to compare with, or a stage fails.

    """
    head = Run("HEAD")
    lock = head.yaml("dvc.lock").get("stages")
    if not lock:
        raise InputError("dvc.lock: the last commit has none to compare with: `make repro` first")
    stages = [stage for stage in head.yaml("dvc.yaml")["stages"] if stage in lock]
    top, here = git("rev-parse", "--show-toplevel", "--show-prefix").splitlines()
    git("clone", "--quiet", "--no-tags", top, str(place / "clone"))
    folder = place / "clone" / here
    for stage in stages:
        began = time.perf_counter()
        if _run([sys.executable, "-m", "dvc", "repro", "--single-item", "--force", stage], folder):
            raise InputError(f"dvc repro {stage} failed, as it says above")
        remade = YAML(typ="safe", pure=True).load(folder / "dvc.lock")["stages"][stage]
        found = {out["path"]: out["md5"] for out in remade["outs"]}
        wanted = {out["path"]: out["md5"] for out in lock[stage]["outs"]}
        others = sorted(path for path in wanted if found.get(path) != wanted[path])
        yield stage, time.perf_counter() - began, others
        if others:
            return


def _run(command: list[str], folder: Path) -> int:
    """Run a command with this Python first, and end all that it started if this one is ended."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(  # noqa: S603 - no shell
        command, cwd=folder, env={**os.environ, "PATH": path}, start_new_session=True
    ) as process:
        try:
            return process.wait()
        except BaseException:  # Ctrl-C too takes its processes along
            os.killpg(process.pid, signal.SIGKILL)
            raise


def main() -> None:
    """Print a line for each stage; the status is 1 where one differs."""
    parser = argparse.ArgumentParser(prog="python -m experiments.verify", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if changed := changed_files():
        print(f"the last commit is verified, without the changes to {named(changed)}")
    lines: list[str] = []
    others: list[str] = []
    with tempfile.TemporaryDirectory(prefix="verify-") as name:
        for stage, seconds, others in remake(Path(name)):
            said = f"differs: {', '.join(others)}" if others else "equal"
            lines.append(f"{stage:10}{seconds:6.0f} s  {said}")
    print(f"\non {processor()}", *lines, sep="\n")
    if others:
        sys.exit("it parts from dvc.lock there; what follows was not made")
    print("every output has the bytes of dvc.lock")


if __name__ == "__main__":
    run(main)
