"""Runs all tests several times, each time in a fresh clone and in other circumstances.

    python -m tests.soak [plain busy reversed random home user ...]

A test that fails here once depends on chance, load, order, the home folder or the user. The status
is 0 if every run passes. `home` and `user` run as another user, so they need root.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import AS_NOBODY, NOBODY, ROOT, lend_environment

NAMES = ("plain", "busy", "reversed", "random", "home", "user")
BUSY = "while :; do :; done"
AS_USER = ("home", "user")


def prepare(name: str, folder: Path) -> list[str]:
    """Make a clone with a home of its own; return the command that runs its tests."""
    clone, home, temporary = folder / "clone", folder / "home", folder / "tmp"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    lend_environment(clone)
    home.mkdir()
    temporary.mkdir()
    folder.chmod(0o755)
    if name in AS_USER:
        for path in (clone, temporary, home, *clone.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    if name == "home":
        home.chmod(0o555)
    variables = {
        "HOME": home,
        "TMPDIR": temporary,
        "LOGNAME": "somebody",
        "TEST_ORDER": {"reversed": "reversed", "random": time.time_ns()}.get(name, ""),
        # make asks access(2) before it starts a program itself, and that does not know the right of
        # AS_NOBODY to read a home. A shell that is not make's own starts all programs.
        "MAKEFLAGS": "SHELL=/bin/bash",
    }
    user = AS_NOBODY if name in AS_USER else ()
    return [*user, "env", *(f"{key}={value}" for key, value in variables.items()), "make", "test"]


def run(name: str) -> bool:
    """Run all tests in one circumstance; return whether they pass."""
    folder = Path(tempfile.mkdtemp(prefix=f"soak-{name}-"))
    command, log, began = prepare(name, folder), folder / "log", time.monotonic()
    busy = [subprocess.Popen(["sh", "-c", BUSY]) for _ in range(2 if name == "busy" else 0)]
    try:
        with log.open("wb") as out:
            status = subprocess.call(command, cwd=folder / "clone", stdout=out, stderr=out)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    last = (log.read_text(errors="replace").splitlines() or [""])[-1]
    (order,) = (part for part in command if part.startswith("TEST_ORDER="))
    seconds = time.monotonic() - began
    print(f"{name} {order}: status {status}, {seconds:.0f} s: {last}", flush=True)
    if status:
        print(f"{name}: the whole output is in {log}", flush=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return status == 0


if __name__ == "__main__":
    if wrong := set(sys.argv[1:]) - {*NAMES}:
        sys.exit(f"error: no run {', '.join(wrong)}; the runs are {', '.join(NAMES)}")
    passed = [run(name) for name in sys.argv[1:] or NAMES]
    sys.exit(not all(passed))
