"""The files that a run reads."""

import functools
import hashlib
from pathlib import Path, PurePath

from common.errors import InputError
from common.hashing import sha256_of
from common.storage import Folder, reaching
from reader.files import find, local

# The names of a content's checksum in the listings of Google Cloud Storage, S3 and others.
CHECKSUMS = ("md5Hash", "crc32c", "ETag", "etag")


def find_sources(
    inputs: list[str], pattern: str, output: Folder, written: tuple[str, ...]
) -> list[str]:
    """Return the files of the inputs, without those that a run has written to the output folder.

    Raises:
        InputError: all files are in the output folder, or a file there was not written by a run.

    """
    root = _location(output)
    locations = {file: _location(Folder(file)) for file in find(inputs, pattern)}
    inside = {f: p.relative_to(root) for f, p in locations.items() if p.is_relative_to(root)}
    for file, path in inside.items():
        if path.parts and path.parts[0] not in written:
            raise InputError(f"{file} is inside the output folder. Choose another output folder")
    files = [file for file in locations if file not in inside]
    if not files:
        raise InputError(f"{output.url}: all inputs are in the output folder. Choose another one")
    return files


def fingerprint(file: str) -> str:
    """Return a hash of a file's name, size and content, but not of its time stamp.

    A local file is read again only if its size or time stamp has changed. For an object, a store's
    own checksum stands for the content.

    Raises:
        InputError: the file does not exist or is unreadable.

    """
    folder = Folder(file)
    with reaching(file):
        if folder.local is None:
            info = folder.system.info(folder.path)
            checksum = next((info[key] for key in CHECKSUMS if info.get(key)), None)
            content = f"{info['size']} {checksum or folder.system.ukey(folder.path)}"
        else:
            with local(str(folder.local)) as path:
                stat = path.stat()
                content = _hash_local(path, stat.st_size, stat.st_mtime_ns)
    return hashlib.blake2b(f"{file} {content}".encode(), digest_size=8).hexdigest()


@functools.cache
def _hash_local(path: Path, size: int, _time: int) -> str:
    return f"{size} {sha256_of(path)}"


def _location(folder: Folder) -> PurePath:
    """Return a unique path of a file or folder, whatever the form of its URL."""
    return (
        folder.local.resolve()
        if folder.local
        else PurePath(type(folder.system).__name__, folder.path)
    )
