"""Storage: a local folder, or a prefix of any object store that fsspec supports."""

import errno
import itertools
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.registry import known_implementations

from common.errors import InputError

# Otherwise gcsfs imports gRPC, to ask each bucket for its type.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")

logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs a traceback with each error

NO_ACCESS = re.compile(r"\b40[13]\b|forbidden|denied|credential|anonymous|unauthori|account", re.I)
LOGINS = {
    "gs": "gcloud auth application-default login",
    "s3": "aws configure",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME, then az login",
}
# How file systems say that they cannot sync; any other error means that the disk has failed.
NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES, errno.EPERM}
failed_syncs = itertools.count()  # next() is atomic, so threads may share it


@contextmanager
def reaching(url: str) -> Iterator[None]:
    """Turn each error of a file system into an InputError that names `url` and the remedy."""
    protocol = url.partition("://")[0] if "://" in url else "file"
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{url}: no such file or bucket") from error
    except ImportError as error:
        package = known_implementations.get(protocol, {"class": error.name or protocol})["class"]
        package = package.partition(".")[0]
        raise InputError(
            f"{url}: the package {package} is missing: python -m pip install {package}"
        ) from error
    except Exception as error:  # each file system raises its own errors
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        reason = reason or type(error).__name__
        if protocol in LOGINS and NO_ACCESS.search(reason):
            reason += f". Log in ({LOGINS[protocol]}), or ask for access"
        raise InputError(f"{url}: {reason}") from error


class Folder:
    """A folder or a prefix of a bucket, whose files are written as a whole."""

    def __init__(self, url: str) -> None:
        """Take a path or an fsspec URL, such as gs://bucket/folder; nothing is read yet.

        Raises InputError if the package for this kind of URL is missing, or the login is
        incomplete.
        """
        self.url = url.rstrip("/") or url
        self.system, path = LocalFileSystem(), str(Path(url).expanduser().absolute())
        if "://" in url:
            with reaching(self.url):
                # Without a cache, a listing shows the newest files of other processes.
                self.system, path = fsspec.url_to_fs(url, use_listings_cache=False)
        self.path = path.rstrip("/")
        self.local = Path(path) if isinstance(self.system, LocalFileSystem) else None

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None if the file does not exist."""
        with reaching(f"{self.url}/{name}"), suppress(FileNotFoundError):
            content: bytes = self.system.cat_file(f"{self.path}/{name}")
            return content
        return None

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file at once: a local one replaces its predecessor, an object never does.

        Raises InputError if it cannot be written, or an object with other content has this name.
        """
        path, url = f"{self.path}/{name}", f"{self.url}/{name}"
        with reaching(url):
            if self.local:
                _write_synced(self.local / name, content)
                return
            try:
                self.system.pipe_file(path, content, mode="create")  # gs: ifGenerationMatch=0
            except FileNotFoundError as error:
                raise InputError(
                    f"{self.url}: no such bucket. Create it, or correct its name"
                ) from error
            except FileExistsError as error:
                if self.system.cat_file(path) != content:
                    raise InputError(
                        f"{url} exists with other content, as another kind of CPU or other packages"
                        " write it. Resume on the original machine, or choose a new folder"
                    ) from error

    def names(self, folder: str = "") -> set[str]:
        """Return the names of the files and folders in a subfolder, without dot-files."""
        with reaching(self.url), suppress(FileNotFoundError):
            paths = self.system.ls(f"{self.path}/{folder}".rstrip("/"), detail=False)
            names = {path.rstrip("/").rpartition("/")[2] for path in paths}
            return {name for name in names if not name.startswith(".")}
        return set()

    def download(self, name: str, path: Path) -> None:
        """Copy a file to `path`.

        Raises InputError if it does not exist or cannot be read.
        """
        with reaching(f"{self.url}/{name}"):
            self.system.get_file(f"{self.path}/{name}", str(path))


def _write_synced(path: Path, content: bytes) -> None:
    # Two processes may write the same file at once.
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        draft.write_bytes(content)
        _sync(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Make a file's content or a folder's names outlast a power cut, if the file system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
        if next(failed_syncs) == 0:
            print(
                f"warning: {path}: cannot be synced ({error.strerror}). A killed process loses "
                "nothing, but a power cut may lose or empty the newest files here",
                file=sys.stderr,
            )
