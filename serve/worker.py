"""A worker: batches of texts come over a socket, their probabilities go back."""

import contextlib
import json
import os
import signal
import socket
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import litserve as ls
from litserve.loops.base import LitLoop

from locked.engines import Name
from locked.manifest import LockedModelError

if TYPE_CHECKING:
    from locked.classifier import Classifier

LENGTH = struct.Struct("!I")  # of the JSON that follows it


class DisasterAPI(ls.LitAPI):
    """What a worker can do."""

    def __init__(self, path: Path, threads: int, engine: Name | None) -> None:
        """Work for the HTTP process that listens at the socket `path`."""
        super().__init__(loop=Worker())
        self.path = path
        self.threads = threads
        self.engine = engine

    def setup(self, device: str) -> None:
        """Connect to the HTTP process, which says what model to load."""
        self.connection = socket.socket(socket.AF_UNIX)
        with contextlib.chdir(self.path.parent):  # its whole path may be too long
            self.connection.connect(self.path.name)

    def load(self, folder: Path) -> "Classifier":
        """Return the model in a folder, ready and held to its golden examples."""
        from locked.classifier import Classifier

        classifier = Classifier(folder, self.threads, self.engine)
        classifier.check()
        return classifier

    def predict(self, texts: Sequence[str]) -> list[float]:
        """Return P(disaster) of each text of a batch."""
        scores: list[float] = self.classifier.probabilities(texts).tolist()
        return scores


class Worker(LitLoop):
    """LitServe's loop in an inference worker.

    LitServe's own moves every request and every answer through queues in a process between, and
    waits a while for others to come along. Here the HTTP process sends whole batches, one at a
    time; while a worker computes, the next batch gathers by itself. Messages are JSON:

    - `{"do": "load", "folder": …}` is answered by `{"loaded": folder, "error": null or why}`;
      the model waits beside the one in use.
    - `{"do": "swap"}` puts the waiting model in use, between two batches.
    - `{"do": "forget"}` drops it.
    - `{"do": "predict", "texts": […]}` is answered by
      `{"scores": […], "model": [version, threshold]}`, or by `{"failed": why}`.
    """

    def __call__(self, lit_api: ls.LitAPI, *_args: object, **_others: object) -> None:
        """Answer until the HTTP process is gone."""
        self.api = lit_api
        self.waiting: Any = None
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
                self.api.classifier, self.waiting = self.waiting, None
            case "forget":
                self.wanted, self.waiting = None, None

    def predict(self, texts: list[str]) -> dict[str, Any]:
        """Answer a batch."""
        try:
            manifest = self.api.classifier.manifest
            return {
                "scores": self.api.predict(texts),
                "model": [manifest.version, manifest.threshold],
            }
        except Exception as error:  # one batch must not end all that follow
            return {"failed": type(error).__name__}

    def load(self, folder: str) -> None:
        """Make a model ready, and hold it to its golden examples."""
        problem = None
        try:
            loaded = self.api.load(Path(folder))
            if self.wanted == folder:
                self.waiting = loaded
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
    """Undo what a worker takes over from the process it was forked from."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process


def _read(stream: Any, size: int) -> bytes:  # noqa: ANN401 - a socket's file
    data: bytes = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
