"""Finds files by a path, a folder, a glob or an fsspec URL; copies remote files."""

import glob
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import fsspec

from common.errors import InputError
from common.storage import reaching


def find(source: str | Sequence[str], pattern: str = "*") -> list[str]:
    """Return the paths or URLs of the files in `source`, sorted by name.

    Args:
        source: a path, a glob or an fsspec URL (gs://bucket/folder), or several of them.
        pattern: glob of the files of a folder; `**/*.csv` searches subfolders too.

    Raises InputError if no file of a folder or glob matches, or the name of one is not UTF-8.

    """
    if not isinstance(source, str):
        return [file for name in source for file in find(name, pattern)]
    files = _find(source, pattern)
    for file in files:
        if (name := os.fsencode(file).decode("utf-8", "backslashreplace")) != file:
            raise InputError(f"{name}: the name is not UTF-8; rename it: mv $'{name}' NEW_NAME")
    return files


def _find(source: str, pattern: str) -> list[str]:
    with reaching(source):
        system, path = fsspec.core.url_to_fs(source)
        is_folder = system.isdir(path)
        if not is_folder and (not glob.has_magic(path) or system.isfile(path)):
            return [source]
        place = f"{glob.escape(path)}/{pattern}" if is_folder else path
        matches = system.glob(place, detail=True)
        names = sorted(name for name, info in matches.items() if info["type"] != "directory")
    if "://" in source:
        names = [system.unstrip_protocol(name) for name in names]
    elif not Path(source).expanduser().is_absolute():
        names = [os.path.relpath(name) for name in names]
    files = [name for name in names if _is_data(below(name, source))]
    if not files:
        place = f"{source.rstrip('/')}/{pattern}" if is_folder else source
        raise InputError(f"{place}: no such file (files named .*, _*, ~$* or *.dvc are ignored)")
    return files


def below(file: str, source: str) -> str:
    """Return a file's path relative to the folder or glob `source`."""
    path, root = (PurePosixPath(fsspec.core.url_to_fs(name)[1]) for name in (file, source))
    roots = (folder for folder in (root, *root.parents) if folder in path.parents)
    return str(path.relative_to(next(roots, path.parent)))


def _is_data(file: str) -> bool:
    """Return whether a file is data, not a hidden or temporary file or one of DVC's."""
    is_hidden = any(part.startswith((".", "_", "~$")) for part in PurePosixPath(file).parts)
    return not is_hidden and not file.endswith(".dvc")


@contextmanager
def local(file: str) -> Iterator[Path]:
    """Yield a path at which `file` can be read repeatedly: a copy if it is a URL.

    Raises InputError if the file does not exist or cannot be read.
    """
    if "://" not in file:
        path = Path(file).expanduser()
        if not path.is_file():
            reason = (
                "not a regular file; write a pipe to a file" if path.exists() else "no such file"
            )
            raise InputError(f"{file}: {reason}")
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy"
        with reaching(file):
            system, name = fsspec.core.url_to_fs(file)
            system.get_file(name, str(path))
        yield path


def size(file: str) -> int:
    """Return the size of a file in bytes, 0 if its file system does not report it.

    Raises InputError if the file does not exist.
    """
    with reaching(file):
        system, path = fsspec.core.url_to_fs(file)
        return int(system.size(path) or 0)
