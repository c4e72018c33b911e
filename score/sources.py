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


def find_sources(inputs: list[str], output: Folder) -> list[str]:
    """Return the files of the inputs.

    Raises:
        InputError: a file does not exist, or is in the output folder.

    """
    files, root = find(inputs), _location(output)
    for file in files:
        if _location(Folder(file)).is_relative_to(root):
            raise InputError(f"{file} is inside the output folder. Choose another output folder")
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
