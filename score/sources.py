"""The files that a run reads."""

import functools
import hashlib
from pathlib import Path, PurePath

from common.errors import InputError
from common.hashing import sha256_of
from common.storage import Folder, reaching
from reader.files import find, local

# Stores that name a checksum of the content in a listing: Google Cloud Storage, S3 and the like.
CHECKSUMS = ("md5Hash", "crc32c", "ETag", "etag")


def sources(inputs: list[str], pattern: str, output: Folder, written: tuple[str, ...]) -> list[str]:
    """Return the files of the inputs, without those that a run has written to the output folder.

    Raises:
        InputError: there are no files, or other files are in the output folder.

    """
    root = _location(output)
    locations = {file: _location(Folder(file)) for file in find(inputs, pattern)}
    inside = {f: p.relative_to(root) for f, p in locations.items() if p.is_relative_to(root)}
    for file, path in inside.items():
        if path.parts and path.parts[0] not in written:
            raise InputError(f"{file} is inside the output folder. Choose another output folder")
    files = [file for file in locations if file not in inside]
    if not files:
        raise InputError(f"{output.url}: all inputs are inside. Choose another output folder")
    return files


def fingerprint(file: str) -> str:
    """Return a hash of a file's name, size and content, whatever its time stamp.

    A local file is read again only if its size or time stamp has changed. For an object, a store's
    own checksum stands for the content.

    Raises:
        InputError: the file does not exist or is unreadable.

    """
    folder = Folder(file)
    with reaching(file):
        if folder.local is None:
            about = folder.system.info(folder.path)
            checksum = next((about[key] for key in CHECKSUMS if about.get(key)), None)
            content = f"{about['size']} {checksum or folder.system.ukey(folder.path)}"
        else:
            with local(str(folder.local)) as path:
                stat = path.stat()
                content = _local_content(path, stat.st_size, stat.st_mtime_ns)
    return hashlib.blake2b(f"{file} {content}".encode(), digest_size=8).hexdigest()


@functools.cache
def _local_content(path: Path, size: int, _time: int) -> str:
    return f"{size} {sha256_of(path)}"


def _location(folder: Folder) -> PurePath:
    """Return a path that only this file or folder has, however its URL is written."""
    return (
        folder.local.resolve()
        if folder.local
        else PurePath(type(folder.system).__name__, folder.path)
    )
