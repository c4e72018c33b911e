"""Check that models/classifier is the complete model of dvc.lock, and print its version.

    python -m deploy.release.check_model [VERSION]

The builds of images run it, where DVC and a YAML parser are not installed.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

from common.errors import run
from locked.manifest import LockedModelError, verify

MODEL = Path("models/classifier")
LOCK = Path("dvc.lock")


def version() -> str:
    """Return the version of the model in the current folder, which must be that of dvc.lock."""
    manifest = verify(MODEL)
    files = [
        {"md5": _md5(path.read_bytes()), "relpath": path.name} for path in sorted(MODEL.iterdir())
    ]
    md5 = _md5(json.dumps(files).encode()) + ".dir"  # as DVC identifies a folder
    if set(re.findall(rf"- path: {MODEL}\n +hash: md5\n +md5: (\S+)", LOCK.read_text())) != {md5}:
        raise LockedModelError(f"{MODEL} is not that of {LOCK}: run `dvc pull` or `dvc repro`")
    return manifest.version


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def main() -> None:
    """Print the model's version, which must be that of the argument, if there is one."""
    actual = version()
    if sys.argv[1:] not in ([], [actual]):
        raise LockedModelError(f"{MODEL} is {actual}, not {sys.argv[1]}")
    print(actual)


if __name__ == "__main__":
    run(main)
