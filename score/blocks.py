"""Blocks: consecutive rows of a file, which are answered and stored together."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from common.errors import InputError
from locked.answer import SCORED
from locked.classifier import Classifier
from locked.engines import Name
from locked.text import Text
from reader.format import Format, fold
from reader.open import opened
from reader.table import EmptyFileError, as_input, is_text
from score.sources import fingerprint

ROWS = 10_000  # of a block
CELLS = 2_000_000  # of a block: with many columns it has fewer rows
TEXT = TypeAdapter[str](Text)


@dataclass(frozen=True)
class Settings:
    """The settings that determine the answers to a block."""

    model: str  # its version
    engine: Name
    keep: tuple[str, ...] | None  # input columns to copy; None copies all
    form: Format  # of the input, with the name of the column of texts


@dataclass(frozen=True)
class Block:
    """Consecutive rows of a file, and the unreadable rows between them."""

    file: str
    fingerprint: str
    text: str  # the column
    numbers: npt.NDArray[np.int64]  # of the rows
    table: pyarrow.Table
    refused: list[tuple[int, str]]  # number and reason of each unreadable row
    position: int  # bytes of the file read so far, 0 at its end

    @property
    def name(self) -> str:
        """The block's id, equal in every run: the file's fingerprint and the first row."""
        first = min([*self.numbers[:1].tolist(), *(number for number, _ in self.refused[:1])])
        return f"{self.fingerprint}-{first:010d}"


@dataclass(frozen=True)
class Summary:
    """How many rows a block has, how many have each label, and which are refused."""

    file: str
    rows: int
    labels: dict[str, int]
    refused: list[tuple[int, str]]


def read_blocks(file: str, expected: str, settings: Settings) -> Iterator[Block]:
    """Yield the blocks of a file; check that its fingerprint stays the expected one.

    Raises:
        InputError: the file is unreadable, or has changed since the run began.

    """
    refused: list[tuple[int, str]] = []

    def take_refused() -> list[tuple[int, str]]:
        _check_unchanged(file, expected)
        rows = refused[:]
        refused.clear()
        return rows

    _check_unchanged(file, expected)
    try:
        with opened(file, settings.form) as table:
            advice = "set --text, or leave this file out by a glob"
            text = table.column(settings.form.text, advice)
            copied = table.columns
            if settings.keep is not None:
                copied = [table.column(name, "set --keep") for name in settings.keep]
            columns = list(dict.fromkeys([*copied, text]))
            size = max(1, min(ROWS, CELLS // len(columns)))
            for chunk in table.chunks(columns, lambda *row: refused.append(row), size):
                position = table.position()
                numbers, rows = chunk.numbers, chunk.table
                yield Block(file, expected, text, numbers, rows, take_refused(), position)
    except EmptyFileError:
        return
    if last_refused := take_refused():
        no_rows = pyarrow.table({text: pyarrow.array([], pyarrow.string())})
        yield Block(file, expected, text, np.empty(0, np.int64), no_rows, last_refused, 0)


def answer(block: Block, classifier: Classifier, settings: Settings) -> tuple[bytes, Summary]:
    """Return a block's answers as the content of a Parquet file, and the block's summary.

    Equal texts are answered once.

    Raises:
        InputError: the column of texts has another type.

    """
    texts = _texts(block)
    problems = list(map(_problem, texts))
    numbered = zip(block.numbers.tolist(), problems, strict=True)
    refused = sorted(block.refused + [(number, reason) for number, reason in numbered if reason])
    is_valid = [reason is None for reason in problems]
    rows = block.table.filter(pyarrow.array(is_valid, pyarrow.bool_()))
    valid = [text for text, ok in zip(texts, is_valid, strict=True) if ok and text is not None]
    distinct = list(dict.fromkeys(valid))
    answers = dict(zip(distinct, classifier.probabilities(distinct), strict=True)) if valid else {}
    probabilities = np.array([answers[text] for text in valid], dtype=np.float32)
    labels = [classifier.label(float(probability)) for probability in probabilities]
    if settings.keep is not None and fold(block.text) not in map(fold, settings.keep):
        rows = rows.drop_columns([block.text])
    new_columns = (
        pyarrow.array(labels, pyarrow.string()),
        pyarrow.array(probabilities),
        pyarrow.array([settings.model] * len(labels), pyarrow.string()),
    )
    for name, values in zip(SCORED, new_columns, strict=True):
        rows = rows.append_column(_unused_name(name, rows.column_names), values)
    total = len(problems) + len(block.refused)
    content = pyarrow.BufferOutputStream()
    pq.write_table(rows, content, compression="zstd")
    summary = Summary(block.file, total, dict(Counter(labels)), refused)
    return content.getvalue().to_pybytes(), summary


def _check_unchanged(file: str, expected: str) -> None:
    if fingerprint(file) != expected:
        raise InputError(f"{file} has changed since the run began. Choose a new output folder")


def _texts(block: Block) -> list[str | None]:
    values = block.table[block.text]
    if not is_text(values.type):
        raise InputError(f"{block.file}: {block.text} holds {values.type} instead of text")
    with as_input(f"{block.file}: {block.text}"):
        texts: list[str | None] = pc.cast(values, pyarrow.string()).to_pylist()
    return texts


def _problem(text: str | None) -> str | None:
    """Return why the server would not answer a text, None if it would."""
    if text is None:
        return "the text is null"
    try:
        TEXT.validate_python(text)
    except ValidationError as error:
        problem = error.errors()[0]
        is_blank = problem["type"] == "string_pattern_mismatch"
        return "the text is blank" if is_blank else problem["msg"]
    return None


def _unused_name(name: str, columns: list[str]) -> str:
    """Return `name`, or a similar name if a column has it in lower or upper case."""
    used_names = set(map(fold, columns))
    names = chain([name, f"predicted_{name}"], (f"predicted_{name}_{n}" for n in count(2)))
    return next(candidate for candidate in names if candidate not in used_names)
