"""Checks that models/classifier is the complete model of dvc.lock, and prints its version.

The build of the server's image runs it, without DVC and without a parser for YAML.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

from locked.manifest import MANIFEST, LockedModelError, verify

MODEL = Path("models/classifier")
LOCK = Path("dvc.lock")


def dvc_hash(folder: Path) -> str:
    """Return the hash by which DVC identifies a folder."""
    files = [
        {"md5": _md5(path.read_bytes()), "relpath": path.name} for path in sorted(folder.iterdir())
    ]
    return _md5(json.dumps(files).encode()) + ".dir"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def version() -> str:
    """Return the version of the model in the current folder, which must be that of dvc.lock."""
    manifest = verify(MODEL)
    if strangers := {path.name for path in MODEL.iterdir()} - {MANIFEST, *manifest.files}:
        raise LockedModelError(
            f"{MODEL}: not in {MANIFEST}, but would be in the image: {', '.join(sorted(strangers))}"
        )
    locked = set(re.findall(rf"- path: {MODEL}\n +hash: md5\n +md5: (\S+)", LOCK.read_text()))
    # The manifest has the other files' hashes; so if the folder differs, the manifest does.
    if locked != {md5 := dvc_hash(MODEL)}:
        raise LockedModelError(
            f"{MODEL / MANIFEST} is not that of {LOCK}: the folder's hash is {md5}, {LOCK} has "
            f"{' and '.join(sorted(locked)) or 'none'}; run `dvc repro`"
        )
    return manifest.version


def main() -> None:
    """Check the model; an argument is the version that it must have."""
    try:
        actual = version()
    except LockedModelError as error:
        sys.exit(f"error: {error}")
    if sys.argv[1:] not in ([], [actual]):
        sys.exit(f"error: {MODEL} is {actual}, not {sys.argv[1]}")
    print(actual)


if __name__ == "__main__":
    main()
