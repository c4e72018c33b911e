"""A worker: batches of texts come over a socket, their answers go back."""

import contextlib
import json
import os
import signal
import socket
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import litserve as ls
from litserve.loops.base import LitLoop

from locked.engines import Name
from locked.labels import Label
from locked.manifest import LockedModelError

if TYPE_CHECKING:
    from locked.classifier import Classifier

LENGTH = struct.Struct("!I")  # of the JSON that follows it

Features = dict[str, float | None]


class Prediction(NamedTuple):
    """What the model says of one text."""

    label: Label
    probability: float  # P(disaster)
    features: Features | None  # None where nothing is logged


class Model(NamedTuple):
    """A classifier and the words by which its log describes texts."""

    classifier: "Classifier"
    vocabulary: frozenset[int] | None  # None for a model that is older than monitoring


class DisasterAPI(ls.LitAPI):
    """What a worker can do."""

    def __init__(self, path: Path, threads: int, engine: Name | None, has_log: bool) -> None:
        """Work for the HTTP process at the socket `path`; `has_log` asks for features too."""
        super().__init__(loop=Worker())
        self.path = path
        self.threads = threads
        self.engine = engine
        self.has_log = has_log

    def setup(self, device: str) -> None:
        """Connect to the HTTP process, which names the model to load."""
        self.connection = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(self.path.parent):  # its whole path may be too long
            self.connection.connect(self.path.name)

    def load(self, folder: Path) -> Model:
        """Return the model in a folder, after a check of its golden examples."""
        from locked.classifier import Classifier
        from locked.reference import Reference

        classifier = Classifier(folder, self.threads, self.engine)
        classifier.check()
        vocabulary = None
        if self.has_log:
            with contextlib.suppress(LockedModelError):
                vocabulary = frozenset(Reference.load(folder).vocabulary.tolist())
        return Model(classifier, vocabulary)

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Return the answers to a batch, in its order."""
        classifier, vocabulary = self.model
        return [
            Prediction(
                classifier.label(probability),
                probability,
                describe(text, vocabulary) if self.has_log else None,
            )
            for text, probability in zip(
                texts, classifier.probabilities(texts).tolist(), strict=True
            )
        ]


def describe(text: str, vocabulary: frozenset[int] | None) -> Features:
    """Return a text's features; without a vocabulary, `unknown` is None."""
    from locked.features import features

    described: Features = {**features(text, vocabulary or ())}
    return described | {"unknown": None} if vocabulary is None else described


class Worker(LitLoop):
    """LitServe's loop in an inference worker.

    LitServe's own moves every request and every answer through queues in a process between, and
    waits a while for more requests. Here the HTTP process sends whole batches, one at a time; while
    a worker computes, the next batch gathers by itself. Messages are JSON:

    - `{"do": "load", "folder": …}` is answered by `{"loaded": folder, "error": null or why}`;
      the model waits beside the one in use.
    - `{"do": "swap"}` puts the waiting model in use, between two batches.
    - `{"do": "forget"}` drops it.
    - `{"do": "predict", "texts": […]}` is answered by
      `{"model": version, "predictions": [[label, probability, features or null], …]}`,
      or by `{"failed": why}`.
    """

    def __call__(self, lit_api: ls.LitAPI, *_args: object, **_others: object) -> None:
        """Answer until the HTTP process is gone."""
        self.api = lit_api
        self.waiting: Model | None = None
        self.wanted: str | None = None  # the folder of the model that may wait
        self.sending = threading.Lock()
        self.send({"hello": os.getpid()})
        with contextlib.suppress(EOFError, OSError), lit_api.connection.makefile("rb") as incoming:
            while True:
                (length,) = LENGTH.unpack(_read(incoming, LENGTH.size))
                self.answer(json.loads(_read(incoming, length)))

    def answer(self, message: dict[str, Any]) -> None:
        """Do what a message asks for."""
        match message["do"]:
            case "predict":
                self.send(self.predict(message["texts"]))
            case "load":  # while predictions go on
                self.wanted, self.waiting = message["folder"], None
                threading.Thread(target=self.load, args=(self.wanted,), daemon=True).start()
            case "swap":
                self.api.model, self.waiting = self.waiting, None
            case "forget":
                self.wanted, self.waiting = None, None

    def predict(self, texts: list[str]) -> dict[str, Any]:
        """Return the message that answers a batch."""
        try:
            version = self.api.model.classifier.manifest.version
            return {"model": version, "predictions": self.api.predict(texts)}
        except Exception as error:  # one batch must not end all that follow
            return {"failed": type(error).__name__}

    def load(self, folder: str) -> None:
        """Load a model, and check its golden examples."""
        problem = None
        try:
            model = self.api.load(Path(folder))
            if self.wanted == folder:
                self.waiting = model
        except LockedModelError as error:
            problem = str(error)
        except Exception as error:  # such as memory that does not suffice
            problem = f"{folder}: {error}"
        self.send({"loaded": folder, "error": problem})

    def send(self, message: dict[str, Any]) -> None:
        """Send a message whole, whichever thread it comes from."""
        with self.sending, contextlib.suppress(OSError):
            self.api.connection.sendall(frame(message))


def frame(message: dict[str, Any]) -> bytes:
    """Return a message as it goes over the socket."""
    text = json.dumps(message).encode()
    return LENGTH.pack(len(text)) + text


def become_worker() -> None:
    """Undo the signal handlers of the process that this one was forked from."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process


def _read(stream: Any, size: int) -> bytes:  # noqa: ANN401 - a socket's file
    data: bytes = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
