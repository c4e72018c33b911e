"""Files written whole or not at all, and errors a person can act on."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class InputError(Exception):
    """The user's input is wrong; the message names the file, row or key and needs no traceback."""


class NoTableError(InputError):
    """A file as a whole is not the table that is looked for."""


def run(stage: Callable[[], None]) -> None:
    """Call a stage; end the process with a plain message where its input is wrong."""
    try:
        stage()
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that takes its place once the block has succeeded."""
    draft = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        yield draft
        shutil.rmtree(path, ignore_errors=True)
        draft.rename(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`; the file there takes its place once the block has succeeded."""
    draft = path.with_name(f".{path.name}.tmp")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Write `value` as stable, readable JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with new_file(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8")
