"""Loads the locked model from a folder or a bucket."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import InputError
from common.storage import Folder
from locked.classifier import Classifier
from locked.engines import Name
from locked.manifest import LockedModelError
from locked.store import ModelStore


@contextmanager
def open_store(url: str) -> Iterator[ModelStore]:
    """Yield the store of a model; its copies are removed at the end of the block.

    Raises:
        InputError: the block raised a LockedModelError.

    """
    with tempfile.TemporaryDirectory() as copies:
        store = ModelStore(url, Path(copies))
        try:
            yield store
        except LockedModelError as error:
            reason = store.named(str(error))
            if "://" not in url and not Path(url).exists():
                reason += ". docs/promote.md says how to fetch the model of a stage or version"
            raise InputError(reason) from error


def load(url: str, threads: int, engine: Name | None) -> Classifier:
    """Return the model in a folder or bucket, after a check of its golden answers.

    Raises:
        InputError: it is missing or altered, or answers wrongly on this machine.

    """
    with open_store(url) as store:
        classifier = Classifier(Folder(url).local or store.fetch(), threads, engine)
        classifier.check()
        return classifier
