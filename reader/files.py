"""Where tables lie: a file, a folder, a glob or an fsspec URL of one; plain, gz, zst or zip."""

import functools
import glob
import io
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import fsspec
import pyarrow
from fsspec.callbacks import TqdmCallback

from common.errors import InputError, NoTableError
from common.progress import Progress
from common.storage import reaching

COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # the latter holds nothing
MADE = "_SUCCESS"  # an empty file, which Spark leaves
HIDDEN = f"dot-files, *.dvc and {MADE} do not count"
NO_TABLES = {  # what is downloaded in a table's place
    b"<!doctype": "a web page, not a table",
    b"<html": "a web page, not a table",
    b"version https://git-lfs": "a pointer of Git LFS; run `git lfs pull`",
    b"%pdf": "a PDF, not a table",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save it as 'CSV UTF-8'",
}


def find(source: str | Sequence[str], pattern: str = "*") -> list[str]:
    """Return the files that `source` names, in the order of their names.

    Args:
        source: a path, a glob or an fsspec URL (gs://bucket/folder), or several.
        pattern: which files of a folder; `**/*.csv` looks into folders below too.

    Raises:
        InputError: there is none.

    """
    if not isinstance(source, str):
        return [file for one in source for file in find(one, pattern)]
    with reaching(source):
        files = _remote(source, pattern) if "://" in source else _local(source, pattern)
    if not files:
        raise InputError(f"{source}: no such file or bucket")
    return files


@contextmanager
def of_several(files: Sequence[str], setting: str) -> Iterator[None]:
    """Say, where one of several files is no table, that a setting chooses among them."""
    try:
        yield
    except NoTableError as error:
        if len(files) == 1:
            raise
        raise InputError(
            f"{error}. If it is none of the tables, {setting} says which of a folder are"
        ) from error


def below(file: str, source: str) -> str:
    """Return a file's path below the folder or glob that it was found by, or else its name."""
    place, root = map(_inner, (file, source))
    shared = (folder for folder in (root, *root.parents) if folder in place.parents)
    return str(place.relative_to(next(shared, place.parent)))


def _inner(name: str) -> PurePosixPath:
    inner = fsspec.core.url_to_fs(name)[1] if "://" in name else Path(name).expanduser()
    return PurePosixPath(inner)


def _local(source: str, pattern: str) -> list[str]:
    path = Path(source).expanduser()
    if path.exists() and not path.is_dir():
        return [str(path)]
    if path.is_dir():
        found = [str(file) for file in path.glob(pattern)]
    else:
        found = glob.glob(str(path), recursive=True)  # noqa: PTH207 - Path's takes no absolute ones
    files = sorted(file for file in found if Path(file).is_file() and _is_data(file, source))
    if not files and path.is_dir():
        raise InputError(f"{source}: the folder has no file {pattern} ({HIDDEN})")
    return files


def _remote(source: str, pattern: str) -> list[str]:
    system, path = fsspec.core.url_to_fs(source)
    if system.isdir(path):
        path = f"{path.rstrip('/')}/{pattern}"
    elif not glob.has_magic(path):
        return [source]
    names = [name for name, about in system.glob(path, detail=True).items() if _is_file(about)]
    files = [system.unstrip_protocol(name) for name in sorted(names)]
    return [file for file in files if _is_data(file, source)]


def _is_file(about: dict[str, object]) -> bool:
    return about["type"] == "file"


def _is_data(file: str, source: str) -> bool:
    """Tell data from what tools leave beside it."""
    parts = PurePosixPath(below(file, source)).parts
    hidden = any(part.startswith(".") for part in parts)
    return not hidden and parts[-1] != MADE and not parts[-1].endswith(".dvc")


@contextmanager
def local(file: str) -> Iterator[Path]:
    """Yield where `file` can be read more than once: URLs and pipes are copied.

    Raises:
        InputError: it is not there or cannot be read.

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
    """Return a copy that lasts as long as the process, since a pipe can be read only once."""
    copy = tempfile.NamedTemporaryFile()  # noqa: SIM115 - removed at exit
    with reaching(pipe), Path(pipe).open("rb") as content:
        shutil.copyfileobj(content, copy)
    copy.flush()
    return copy


@contextmanager
def unpacked(raw: BinaryIO, name: str) -> Iterator[tuple[BinaryIO, str]]:
    """Yield a file's bytes without their compression, and the compression's name or "none".

    Raises:
        InputError: it is no table by its first bytes, or a zip of several files or with a password.

    """
    head = raw.read(32)
    raw.seek(0)
    for sign, what in NO_TABLES.items():
        if head.lower().startswith(sign):
            raise NoTableError(f"{name}: this is {what}")
    if head.startswith(ZIP):
        with zipfile.ZipFile(raw) as archive, archive.open(_member(archive, name)) as inside:
            yield io.BufferedReader(inside), "zip"  # type: ignore[type-var] # any reader will do
        return
    kind = next((kind for sign, kind in COMPRESSED.items() if head.startswith(sign)), None)
    if kind is None:
        yield raw, "none"
        return
    with pyarrow.CompressedInputStream(raw, kind) as stream:
        yield io.BufferedReader(stream), kind


def _member(archive: zipfile.ZipFile, name: str) -> str:
    members = [
        member.filename
        for member in archive.infolist()
        if not member.is_dir() and not member.filename.startswith("__MACOSX/")
    ]
    if "[Content_Types].xml" in members:
        raise NoTableError(f"{name}: this is an Excel workbook; save it as 'CSV UTF-8'")
    if len(members) != 1:
        raise NoTableError(
            f"{name}: the zip holds {len(members)} files ({', '.join(members[:5])}); unpack it "
            "and name the one to read"
        )
    if archive.getinfo(members[0]).flag_bits & 1:
        raise InputError(f"{name}: the zip has a password; unpack it")
    return members[0]


def size(file: str) -> int:
    """Return how many bytes a file has, 0 where its file system does not say.

    Raises:
        InputError: it is not there.

    """
    with reaching(file):
        system, path = fsspec.core.url_to_fs(file)
        return int(system.size(path) or 0)
