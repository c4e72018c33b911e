"""Blocks: rows that follow each other in a file, answered and kept together."""

import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, count

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute as pc
import pyarrow.ipc
from pydantic import TypeAdapter, ValidationError

from common.errors import InputError
from locked.classifier import Classifier
from locked.engines import Name
from locked.text import Text
from reader.files import fingerprint
from reader.format import Format, fold
from reader.open import opened
from reader.table import EmptyFileError, Table, as_input, is_text
from score.formats import Kind, written

ROWS = 10_000  # of a block
FIELDS = 2_000_000  # of a block, where columns are many
TEXT = TypeAdapter[str](Text)
BESIDE = b"block"  # the key, in a table's metadata, of what a block has beside the table


@dataclass(frozen=True)
class Settings:
    """What each block's content follows from, beside its file."""

    model: str  # its version
    engine: Name
    text: str  # the column
    keep: tuple[str, ...] | None  # columns that come along; None takes all
    format: Kind
    form: Format


@dataclass(frozen=True)
class Block:
    """Rows of a file, and those of its rows between them that could not be read."""

    file: str
    fingerprint: str
    text: str  # the column
    numbers: npt.NDArray[np.int64]
    table: pyarrow.Table | None  # None where no row could be read
    refused: list[tuple[int, str]]
    position: int  # bytes of the file up to here

    @property
    def name(self) -> str:
        """A name that only this block has, and has in each run."""
        first = min([*self.numbers[:1].tolist(), *(number for number, _ in self.refused[:1])])
        return f"{self.fingerprint}-{first:010d}"


@dataclass(frozen=True)
class Record:
    """What became of the rows of a block."""

    file: str
    rows: int
    labels: dict[str, int]
    refused: list[tuple[int, str]]

    def dumped(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False).encode() + b"\n"

    @classmethod
    def loaded(cls, content: bytes | None, name: str) -> "Record":
        """Return what was dumped.

        Raises:
            InputError: it is something else.

        """
        try:
            return TypeAdapter(cls).validate_json(content or b"")
        except ValidationError as error:
            raise InputError(
                f"{name}: no record of a block; remove it, and the same call does the block again"
            ) from error


def blocks(file: str, pinned: str, settings: Settings) -> Iterator[Block]:
    """Read a file.

    Args:
        file: a path or an fsspec URL.
        pinned: its fingerprint when the run was begun.
        settings: which columns, and what is known of the file's form.

    Raises:
        InputError: it cannot be read, or is no longer what it was.

    """
    refused: list[tuple[int, str]] = []

    def take() -> list[tuple[int, str]]:
        _check_unchanged(file, pinned)
        taken = refused[:]
        refused.clear()
        return taken

    _check_unchanged(file, pinned)
    try:
        with opened(file, settings.form) as table:
            text = table.column(settings.text, f"{settings.form.prefix}text")
            read = list(dict.fromkeys([*_kept(table, settings), text]))
            most = max(1, min(ROWS, FIELDS // len(read)))
            for chunk in table.chunks(read, lambda *row: refused.append(row), most):
                position = table.position()
                yield Block(file, pinned, text, chunk.numbers, chunk.table, take(), position)
    except EmptyFileError:
        return
    if last := take():
        yield Block(file, pinned, text, np.empty(0, np.int64), None, last, 0)


def answered(block: Block, classifier: Classifier, settings: Settings) -> tuple[bytes, Record]:
    """Return a block's answers as a file's content, and what became of its rows.

    Each distinct text is asked once.

    Raises:
        InputError: the column holds no texts, or another has what the format cannot hold.

    """
    refused, table = block.refused, block.table
    if table is None:
        table = pyarrow.table({block.text: pyarrow.array([], pyarrow.string())})
    texts = _strings(table, block)
    problems = [_problem(text) for text in texts]
    refused = sorted(
        refused + [(int(n), p) for n, p in zip(block.numbers, problems, strict=True) if p]
    )
    keep = np.array([problem is None for problem in problems], dtype=bool)
    asked = [text for text, kept in zip(texts, keep, strict=True) if kept and text is not None]
    distinct = list(dict.fromkeys(asked))
    scores = dict(zip(distinct, classifier.probabilities(distinct), strict=True)) if asked else {}
    probabilities = np.array([scores[text] for text in asked], dtype=np.float32)
    labels = [classifier.label(float(p)) for p in probabilities]
    rows = table.filter(pyarrow.array(keep))
    if settings.keep is not None and fold(block.text) not in map(fold, settings.keep):
        rows = rows.drop_columns([block.text])
    added = {
        "label": pyarrow.array(labels, pyarrow.string()),
        "probability": pyarrow.array(probabilities),
        "model": pyarrow.array([settings.model] * len(labels), pyarrow.string()),
    }
    for name, values in added.items():
        rows = rows.append_column(_free(name, rows.column_names), values)
    record = Record(block.file, len(keep) + len(block.refused), dict(Counter(labels)), refused)
    return _content(rows, block, settings.format), record


def packed(block: Block) -> bytes:
    """Return a block as an Arrow stream, the same for the same block."""
    beside = (block.file, block.fingerprint, block.text, block.refused, block.position)
    numbers = pyarrow.array(block.numbers)
    if block.table is None:
        table = pyarrow.table({"": numbers})
    else:
        table = block.table.append_column("", numbers)
    metadata = {**(table.schema.metadata or {}), BESIDE: json.dumps(beside)}
    table = table.replace_schema_metadata(metadata)
    content = io.BytesIO()
    options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
    with pyarrow.ipc.new_stream(content, table.schema, options=options) as stream:
        stream.write_table(table)
    return content.getvalue()


def unpacked(content: bytes) -> Block:
    """Return the block that was packed."""
    table = pyarrow.ipc.open_stream(content).read_all()
    metadata = table.schema.metadata
    file, fingerprint, text, refused, position = json.loads(metadata.pop(BESIDE))
    last = table.num_columns - 1
    numbers = table.column(last).to_numpy()
    rows = table.remove_column(last).replace_schema_metadata(metadata or None) if last else None
    bad = [(number, reason) for number, reason in refused]
    return Block(file, fingerprint, text, numbers, rows, bad, position)


def _check_unchanged(file: str, pinned: str) -> None:
    if fingerprint(file) != pinned:
        raise InputError(f"{file} has changed since the run was begun; start with a new folder")


def _kept(table: Table, settings: Settings) -> list[str]:
    if settings.keep is None:
        return table.columns
    return [table.column(name, f"{settings.form.prefix}keep") for name in settings.keep]


def _strings(table: pyarrow.Table, block: Block) -> list[str | None]:
    values = table[block.text]
    if not is_text(values.type):
        raise InputError(f"{block.file}: {block.text} is no text but {values.type}")
    with as_input(f"{block.file}: {block.text}"):
        texts: list[str | None] = pc.cast(values, pyarrow.string()).to_pylist()
    return texts


def _problem(text: str | None) -> str | None:
    """Say why a text has no answer, by the server's own rules."""
    if text is None:
        return "the text is null"
    try:
        TEXT.validate_python(text)
    except ValidationError as error:
        problem = error.errors()[0]
        blank = problem["type"] == "string_pattern_mismatch"
        return "the text is blank" if blank else problem["msg"]
    return None


def _free(name: str, taken: list[str]) -> str:
    """Return the name of an added column that no other has, in whatever case."""
    others = {fold(other) for other in taken}
    predicted = f"predicted_{name}"
    names = chain([name, predicted], (f"{predicted}_{number}" for number in count(2)))
    return next(free for free in names if fold(free) not in others)


def _content(rows: pyarrow.Table, block: Block, kind: Kind) -> bytes:
    if kind != "parquet":
        at = rows.num_columns - 2  # the probability, in all digits, as /predict has it
        rows = rows.set_column(at, rows.column_names[at], rows.column(at).cast(pyarrow.float64()))
    try:
        return written(rows, kind)
    except (ValueError, OverflowError, pyarrow.ArrowException) as error:
        raise InputError(
            f"{block.file}: no {kind} can be made of it: {error}; try another --format, or name "
            "with --keep what it can be made of"
        ) from error
