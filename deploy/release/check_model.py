"""Checks that models/classifier is the model of dvc.lock, whole, and prints its version.

The build of the server's image runs it, where there is neither DVC nor a parser for YAML.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

from locked.manifest import MANIFEST, LockedModelError, verify

MODEL = Path("models/classifier")
LOCK = Path("dvc.lock")


def md5_of(folder: Path) -> str:
    """Return the hash by which DVC knows a folder."""
    listed = [
        {"md5": _md5(path.read_bytes()), "relpath": path.name} for path in sorted(folder.iterdir())
    ]
    return _md5(json.dumps(listed).encode()) + ".dir"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def version() -> str:
    """Return the version of the model in the current folder.

    Raises:
        LockedModelError: it is not whole, or not that of dvc.lock.

    """
    found = verify(MODEL).version
    wanted = set(re.findall(rf"- path: {MODEL}\n +hash: md5\n +md5: (\S+)", LOCK.read_text()))
    # The other files are those of the manifest; so if one is wrong here, it is the manifest.
    if wanted != {md5 := md5_of(MODEL)}:
        raise LockedModelError(
            f"{MODEL / MANIFEST} is not that of {LOCK}: the folder's hash is {md5}, "
            f"{LOCK} says {' and '.join(sorted(wanted)) or 'nothing'}; run `dvc repro`"
        )
    return found


def main() -> None:
    """Check the model; an argument is the version that it must have."""
    try:
        found = version()
    except LockedModelError as error:
        sys.exit(f"error: {error}")
    if sys.argv[1:] not in ([], [found]):
        sys.exit(f"error: {MODEL} is {found}, not {sys.argv[1]}")
    print(found)


if __name__ == "__main__":
    main()
