"""A worker process: it gets batches of texts over a socket and sends their answers back."""

import contextlib
import json
import os
import threading
from collections.abc import Sequence
from multiprocessing.connection import Client
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import litserve as ls
from litserve.loops.base import LitLoop

from locked.engines import Name
from locked.labels import Label
from locked.manifest import LockedModelError

if TYPE_CHECKING:
    from locked.classifier import Classifier

Features = dict[str, float | None]


class Prediction(NamedTuple):
    """The model's answer to one text."""

    label: Label
    probability: float  # P(disaster)
    features: Features | None  # None if there is no log


class Model(NamedTuple):
    """A classifier, and the training words with which the log's features are computed."""

    classifier: "Classifier"
    vocabulary: frozenset[int]  # empty if there is no log


class DisasterAPI(ls.LitAPI):
    """Loads models and classifies texts in a worker."""

    def __init__(self, path: Path, threads: int, engine: Name | None, has_log: bool) -> None:
        """Take the path of the HTTP process's socket; `has_log`: answers have features."""
        super().__init__(loop=Worker())
        self.path = path
        self.threads = threads
        self.engine = engine
        self.has_log = has_log

    def setup(self, device: str) -> None:
        """Connect to the HTTP process, which names the model to load."""
        with contextlib.chdir(self.path.parent):  # its whole path may be too long
            self.connection = Client(self.path.name, "AF_UNIX")

    def load(self, folder: Path) -> Model:
        """Return the model in a folder, after a check of its golden answers."""
        from locked.classifier import Classifier
        from locked.reference import Reference

        classifier = Classifier(folder, self.threads, self.engine)
        classifier.check()
        words = Reference.load(folder).vocabulary.tolist() if self.has_log else ()
        return Model(classifier, frozenset(words))

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return the answers to a batch, in its order."""
        from locked.features import features

        classifier, vocabulary = self.model
        probabilities = classifier.probabilities(texts).tolist()
        return [
            Prediction(
                classifier.label(probability),
                probability,
                {**features(text, vocabulary)} if self.has_log else None,
            )
            for text, probability in zip(texts, probabilities, strict=True)
        ]


class Worker(LitLoop):
    """LitServe's loop in a worker: it answers messages of the HTTP process, one at a time.

    A message is its length, then JSON:

    - `{"do": "load", "folder": …}` is answered by `{"error": null or the reason}`; the model is
      loaded beside the one in use.
    - `{"do": "swap"}` puts the loaded model in use, between two batches.
    - `{"do": "predict", "texts": […]}` is answered by
      `{"model": version, "predictions": [[label, probability, features or null], …]}`.

    An error ends the process, as a crash does: the batch is lost, and a new worker starts.
    """

    def __call__(self, lit_api: ls.LitAPI, *_args: object, **_others: object) -> None:
        """Answer messages until the HTTP process ends."""
        self.api = lit_api
        self.loaded_model: Model | None = None
        self.send_lock = threading.Lock()
        with contextlib.suppress(EOFError, OSError):
            self.send({"hello": os.getpid()})
            while True:
                self.answer(json.loads(lit_api.connection.recv_bytes()))

    def answer(self, message: dict[str, Any]) -> None:
        """Do what a message asks for."""
        match message["do"]:
            case "predict":
                version = self.api.model.classifier.manifest.version
                predictions = self.api.predict(message["texts"])
                self.send({"model": version, "predictions": predictions})
            case "load":  # in a thread, while predictions continue
                folder = Path(message["folder"])
                threading.Thread(target=self.load, args=(folder,), daemon=True).start()
            case "swap":
                self.api.model, self.loaded_model = self.loaded_model, None

    def load(self, folder: Path) -> None:
        """Load a model, and send whether it can be used."""
        problem = None
        self.loaded_model = None
        try:
            self.loaded_model = self.api.load(folder)
        except LockedModelError as error:
            problem = str(error)
        except Exception as error:  # such as a lack of memory
            problem = f"{folder}: {error}"
        self.send({"error": problem})

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; messages of several threads do not mix."""
        with self.send_lock:
            self.api.connection.send_bytes(json.dumps(message).encode())
