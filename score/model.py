"""Which model answers: in a folder or a bucket, held to what it was when it was locked."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import InputError
from locked.classifier import Classifier
from locked.engines import Name
from locked.manifest import LockedModelError
from locked.store import GCS, ModelStore


def version(uri: str, copies: Path) -> str:
    """Return the version of the model in a folder or a bucket.

    Raises:
        InputError: there is none.

    """
    with _explained(uri):
        return ModelStore(uri, copies).manifest().version


def locked(uri: str, copies: Path, threads: int, engine: Name | None) -> Classifier:
    """Return the model in a folder or a bucket, held to its golden examples.

    Raises:
        InputError: it is missing or altered, or answers otherwise here.

    """
    with _explained(uri):
        folder = ModelStore(uri, copies).fetch() if uri.startswith(GCS) else Path(uri)
        classifier = Classifier(folder, threads, engine)
        classifier.check()
        return classifier


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    try:
        yield
    except LockedModelError as error:
        if "://" not in uri and not Path(uri).exists():
            raise InputError(
                f"{error}; `python -m experiments.fetch NAME` has what has a stage or a version"
            ) from error
        raise InputError(str(error)) from error
