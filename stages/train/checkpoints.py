"""Checkpoints of a running training, from which a killed run resumes."""

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from common.hashing import sha256_of

KEPT = 2
ABANDONED = 14 * 24 * 3600  # seconds after which another run's checkpoints are removed
LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "numpy")


class Checkpoints:
    """The checkpoints of one run, in a folder of its own that only the very same run reads.

    A checkpoint is one file that appears whole; its name has its SHA-256, which shows a torn file.
    The folder is named after everything that decides the result: `inputs`, the content of `files`,
    this project's loaded modules, and the versions of the libraries.
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
        """Write a checkpoint and remove all but the newest ones; say so where that fails."""
        draft = self.folder / f".{os.getpid()}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                torch.save(state, file)
                os.fsync(file.fileno())  # or a power cut leaves a name without its content
            draft.rename(self.folder / f"{step:09d}-{sha256_of(draft)}.pt")
        except (OSError, RuntimeError) as error:  # torch has its own for a disk that is full
            with suppress(OSError):
                draft.unlink()
            reason = error if isinstance(error, OSError) else "is the disk full?"
            _say(f"the checkpoint of step {step} could not be written ({reason}); training goes on")
            return False
        for old in self._newest_first()[KEPT:]:
            old.unlink(missing_ok=True)
        return True

    def load(self) -> dict[str, Any] | None:
        """Return the newest sound checkpoint, or None where there is none."""
        for path in self._newest_first():
            step, digest = int(path.stem.split("-")[0]), path.stem.split("-")[1]
            if sha256_of(path) != digest:
                _say(f"{path} is torn and not used")
                with suppress(OSError):
                    path.unlink()  # it would count among the newest
                continue
            _say(f"going on from the checkpoint of step {step} in {self.folder}")
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            return state
        return None

    def clear(self) -> None:
        """Remove this run's checkpoints, and those that other runs abandoned weeks ago."""
        drafts = self.folder.glob(".*.tmp")  # of a process killed as it wrote
        for path in [*drafts, *self.folder.parent.glob("*/?????????-*.pt")]:
            with suppress(OSError):  # another run removes it too, or it is not ours to remove
                if path.parent == self.folder or time.time() - path.stat().st_mtime > ABANDONED:
                    path.unlink(missing_ok=True)
                    path.parent.rmdir()

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("*.pt"), reverse=True)


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Yield a list that SIGTERM and SIGINT are noted in, instead of ending the process at once."""
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda received, _frame: noted.append(received))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _own_modules() -> dict[str, Path]:
    """Return the files of this project's modules that are loaded, by their path in it."""
    root = Path(__file__).parents[2]
    files = {Path(getattr(module, "__file__", None) or "") for module in [*sys.modules.values()]}
    return {
        str(file.relative_to(root)): file
        for file in sorted(files)
        if any(file.is_relative_to(root / name) for name in ("locked", "reader", "stages"))
    }


def _say(message: str) -> None:
    print(f"train: {message}", file=sys.stderr, flush=True)
