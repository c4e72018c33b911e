"""Finds files by a path, a folder, a glob or an fsspec URL; copies remote files."""

import functools
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, takewhile
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import fsspec
from fsspec.callbacks import TqdmCallback

from common.errors import InputError, NoTableError
from common.progress import Progress
from common.storage import reaching

EMPTY_PARTITION = "__HIVE_DEFAULT_PARTITION__"  # Hive's name of an empty value
IGNORED = "files named .*, _*, ~$* or *.dvc are ignored"


def find(source: str | Sequence[str], pattern: str = "*") -> list[str]:
    """Return the paths or URLs of the files in `source`, sorted by name.

    Args:
        source: a path, a glob or an fsspec URL (gs://bucket/folder), or several of them.
        pattern: glob of the files of a folder; `**/*.csv` searches subfolders too. Subfolders named
            like Hive partitions, such as target=0, are always searched.

    Raises InputError if no file matches, or the name of one is not UTF-8.

    """
    if not isinstance(source, str):
        return [file for name in source for file in find(name, pattern)]
    with reaching(source):
        files = _remote(source, pattern) if "://" in source else _local(source, pattern)
    if not files:
        raise InputError(f"{source}: no such file or bucket")
    for file in files:
        if (name := os.fsencode(file).decode("utf-8", "backslashreplace")) != file:
            raise InputError(f"{name}: the name is not UTF-8; rename it: mv $'{name}' NEW_NAME")
    return files


@contextmanager
def of_several(files: Sequence[str], setting: str) -> Iterator[None]:
    """If one of several files is not a table, let the error advise to choose files by `setting`."""
    try:
        yield
    except NoTableError as error:
        if len(files) == 1:
            raise
        raise InputError(
            f"{error}. If the folder has other files than tables, choose the tables by {setting}"
        ) from error


def below(file: str, source: str) -> str:
    """Return a file's path relative to the folder or glob `source`, or its name if outside."""
    path, root = _path(file), _path(source if "://" in source else str(Path(source).expanduser()))
    roots = (folder for folder in (root, *root.parents) if folder in path.parents)
    return str(path.relative_to(next(roots, path.parent)))


def partitions(file: str) -> dict[str, str]:
    """Return the Hive partitions in a file's path: {"target": "0"} of target=0/part.parquet."""
    folders = takewhile(lambda name: "=" in name, reversed(_path(file).parts[:-1]))
    pairs = [unquote(folder).partition("=") for folder in reversed(list(folders))]
    return {name: "" if value == EMPTY_PARTITION else value for name, _, value in pairs}


def _path(name: str) -> PurePosixPath:
    return PurePosixPath(fsspec.core.url_to_fs(name)[1] if "://" in name else name)


def _local(source: str, pattern: str) -> list[str]:
    path = Path(source).expanduser()
    if path.exists() and not path.is_dir():
        return [str(path)]
    if path.is_dir():
        globs = (path.glob(pattern), path.glob(f"*=*/**/{pattern}"))
        matches = {str(match) for match in chain(*globs)}
    else:
        matches = {*glob.glob(str(path), recursive=True)}  # noqa: PTH207 - Path's is relative only
    files = sorted(match for match in matches if Path(match).is_file() and _is_data(match, source))
    if not files and path.is_dir():
        raise InputError(f"{source}: the folder has no file {pattern} ({IGNORED})")
    return files


def _remote(source: str, pattern: str) -> list[str]:
    system, path = fsspec.core.url_to_fs(source)
    if not system.isdir(path) and not glob.has_magic(path):
        return [source]
    patterns = [path]
    if system.isdir(path):
        folders = [path.rstrip("/"), *system.glob(f"{path.rstrip('/')}/*=*")]
        patterns = [f"{folders[0]}/{pattern}", *(f"{name}/**/{pattern}" for name in folders[1:])]
    matches = [system.glob(each, detail=True).items() for each in patterns]
    names = {name for name, info in chain(*matches) if info["type"] == "file"}
    urls = [system.unstrip_protocol(name) for name in sorted(names)]
    return [url for url in urls if _is_data(url, source)]


def _is_data(file: str, source: str) -> bool:
    """Return whether a file is data, not a hidden or temporary file or one of DVC's."""
    parts = PurePosixPath(below(file, source)).parts
    is_hidden = any(part.startswith((".", "_", "~$")) and "=" not in part for part in parts)
    return not is_hidden and not parts[-1].endswith(".dvc")


@contextmanager
def local(file: str) -> Iterator[Path]:
    """Yield a path at which `file` can be read repeatedly: a copy if it is a URL or a pipe.

    Raises InputError if the file does not exist or cannot be read.
    """
    if "://" not in file:
        path = Path(file)
        if not path.exists() or path.is_dir():
            raise InputError(f"{file}: no such file")
        yield path if path.is_file() else Path(_pipe_content(file).name)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "copy"
        bar = {"desc": f"reading {file}", "unit": "B", "unit_scale": True}
        with reaching(file):
            system, name = fsspec.core.url_to_fs(file)
            with TqdmCallback(tqdm_kwargs=bar, tqdm_cls=Progress) as callback:
                system.get_file(name, str(path), callback=callback)
        yield path


@functools.cache
def _pipe_content(pipe: str) -> "tempfile._TemporaryFileWrapper[bytes]":
    """Return a copy of a pipe, which can be read only once; the copy is removed at exit."""
    copy = tempfile.NamedTemporaryFile()  # noqa: SIM115 - closed at exit
    with reaching(pipe), Path(pipe).open("rb") as content:
        shutil.copyfileobj(content, copy)
    copy.flush()
    return copy


def size(file: str) -> int:
    """Return the size of a file in bytes, 0 if its file system does not report it.

    Raises InputError if the file does not exist.
    """
    with reaching(file):
        system, path = fsspec.core.url_to_fs(file)
        return int(system.size(path) or 0)
