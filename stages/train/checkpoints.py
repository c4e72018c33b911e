"""Checkpoints of a running training, from which a killed run resumes."""

import hashlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from common.errors import InputError
from common.hashing import sha256_of

LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "numpy")


class Checkpoints:
    """The checkpoints of one run, in a folder that only runs with equal inputs use.

    A checkpoint is a file that is renamed when complete. The folder's name is a hash of everything
    that determines the result: `inputs`, the content of `files`, the loaded modules of this
    project, and library versions.
    """

    def __init__(self, parent: Path, inputs: dict[str, Any], files: list[Path]) -> None:
        identity = {
            "inputs": inputs,
            "files": [sha256_of(path) for path in files],
            "code": {name: sha256_of(path) for name, path in _own_modules().items()},
            "libraries": {name: version(name) for name in LIBRARIES},
        }
        text = json.dumps(identity, sort_keys=True)
        self.folder = parent / hashlib.sha256(text.encode()).hexdigest()[:16]

    def save(self, step: int, state: dict[str, Any]) -> bool:
        """Write a checkpoint and remove old ones; return whether this succeeded.

        The reason of a failure is printed.
        """
        draft = self.folder / f".{os.getpid()}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                torch.save(state, file)
                os.fsync(file.fileno())  # without it, a power cut could leave an empty file
            draft.rename(self.folder / f"{step:09d}.pt")
        except (OSError, RuntimeError) as error:  # torch raises RuntimeError if the disk is full
            with suppress(OSError):
                draft.unlink()
            reason = error if isinstance(error, OSError) else "is the disk full?"
            _print(f"the checkpoint of step {step} could not be written ({reason}); continuing")
            return False
        for old in self._newest_first()[1:]:
            old.unlink(missing_ok=True)
        return True

    def load(self) -> dict[str, Any] | None:
        """Return the newest checkpoint, or None if there is none."""
        if not (paths := self._newest_first()):
            return None
        _print(f"resuming from the checkpoint of step {int(paths[0].stem)} in {self.folder}")
        try:
            state: dict[str, Any] = torch.load(paths[0], map_location="cpu", weights_only=True)
        except (EOFError, RuntimeError, UnpicklingError) as error:
            raise InputError(f"{paths[0]} is damaged; remove it, and repeat the command") from error
        return state

    def clear(self) -> None:
        """Remove this run's checkpoints and their folder."""
        with suppress(OSError):  # the folder does not exist, or holds other files
            for path in [*self._newest_first(), *self.folder.glob(".*.tmp")]:
                path.unlink()
            self.folder.rmdir()

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("*.pt"), reverse=True)


@contextmanager
def recorded_signals() -> Iterator[list[int]]:
    """Yield a list to which SIGTERM and SIGINT are appended; they no longer end the process."""
    received: list[int] = []
    old_handlers = {
        number: signal.signal(number, lambda number, _frame: received.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield received
    finally:
        for number, handler in old_handlers.items():
            signal.signal(number, handler)


def _own_modules() -> dict[str, Path]:
    """Return the files of the project's loaded modules, by their path in the project."""
    root = Path(__file__).parents[2]
    files = {Path(getattr(module, "__file__", None) or "") for module in [*sys.modules.values()]}
    return {
        str(file.relative_to(root)): file
        for file in sorted(files)
        if any(file.is_relative_to(root / name) for name in ("locked", "reader", "stages"))
    }


def _print(message: str) -> None:
    print(f"train: {message}", file=sys.stderr, flush=True)
