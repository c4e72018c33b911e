"""Source CSV -> checked, de-duplicated, split tweets in Parquet.

The file is read once, in chunks. What stays in memory is a hash and a label a row, so that millions
of rows fit where their text would not.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import numpy as np
import numpy.typing as npt
import pandas as pd
import pandera.pandas as pa
import pyarrow
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reader.io import InputError, new_folder, write_json
from reader.progress import Progress
from stages import params
from stages.paths import PREPARED
from stages.text import ENTITIES, MENTION, URL

SPLITS = ("train", "validation", "test")
CHUNK_ROWS = 100_000
MAX_TEXT = 10_000  # characters; far beyond any tweet, so a longer field is a broken file
MAX_SHOWN = 5  # faulty rows named in one error

SOURCE_SCHEMA = pa.DataFrameSchema(
    {
        "text": pa.Column(
            str,
            [
                pa.Check(lambda s: s.str.strip().str.len() > 0, error="text is blank"),
                pa.Check(
                    lambda s: s.str.len() <= MAX_TEXT,
                    error=f"text is longer than {MAX_TEXT} characters (is a quote never closed?)",
                ),
            ],
        ),
        "target": pa.Column(str, pa.Check.isin(["0", "1"], error="target must be 0 or 1")),
    }
)
OUTPUT_SCHEMA = pyarrow.schema(
    [("id", "string"), ("text", "string"), ("keyword", "string"), ("target", "int8")]
)


def prepare(source: str, output: Path, seed: int, validation: float, test: float) -> dict[str, Any]:
    """Write {train,validation,test}.parquet and report.json to `output`; return the report.

    Tweets that read the same after lower-casing and without links, mentions and punctuation are
    one tweet: the first with the majority label stays, and on a tie none does. The split is a
    function of that reading and `seed` alone, so a row keeps its place whatever is added.

    Args:
        source: path or fsspec URL of a CSV with `text` and `target`.
        output: folder to make; it appears only when complete.
        seed: of the split.
        validation: share of the rows, in expectation, within each class.
        test: likewise.

    Raises:
        InputError: the source cannot be read or used; the message names the place.

    """
    with new_folder(output) as folder:
        staged = folder / "staged.parquet"
        hashes, targets = _stage(source, staged, seed)
        keep, counts = _resolve(hashes, targets)
        split = _split(hashes, validation, test)
        sizes = _write_splits(staged, folder, keep, split, targets)
        staged.unlink()
        report = {"source": Path(source).name, "rows": {"read": len(targets), **counts}, **sizes}
        _check_usable(source, report)
        write_json(folder / "report.json", report)
    return report


def reading(text: pyarrow.Array) -> pyarrow.Array:
    """Reduce each tweet to what it says, to find near-duplicates: bare words in lower case.

    A text of nothing but links, mentions and punctuation reads as itself.
    """
    words = pc.utf8_lower(text)
    for entity, character in ENTITIES.items():
        words = pc.replace_substring(words, entity, character)
    words = pc.replace_substring_regex(words, f"{URL}|{MENTION}", " ")
    words = pc.replace_substring_regex(words, r"[\p{P}\p{S}\p{Z}\s]+", " ")
    words = pc.utf8_trim_whitespace(words)
    return pc.if_else(pc.equal(words, ""), text, words)


def _stage(
    source: str, staged: Path, seed: int
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int8]]:
    """Copy the checked rows to a Parquet file; return each row's hash and label."""
    hashes, targets, first_row = [], [], 1
    with (
        pq.ParquetWriter(staged, OUTPUT_SCHEMA) as writer,
        Progress(desc="prepare: reading", unit=" rows", unit_scale=True) as progress,
    ):
        for chunk in _chunks(source):
            rows = _checked(source, chunk, first_row)
            writer.write_table(rows)
            hashes.append(
                # SipHash of 64 bits: two of 5 million different readings meet with p < 1e-6.
                pd.util.hash_array(
                    np.asarray(reading(rows["text"].combine_chunks()), dtype=object),
                    hash_key=f"{seed:016d}",
                    categorize=False,
                )
            )
            targets.append(rows["target"].to_numpy())
            first_row += len(chunk)
            progress.update(len(chunk))
    if first_row == 1:
        raise InputError(f"{source}: no rows below the header")
    return np.concatenate(hashes), np.concatenate(targets)


def _chunks(source: str) -> Iterator[pd.DataFrame]:
    """Read the source's columns as text, a chunk at a time."""
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # its tracebacks say less than our line
    try:
        with fsspec.open(source, "rb") as file:
            chunks = pd.read_csv(
                file,
                dtype=str,
                keep_default_na=False,  # "NA" and "null" are words
                chunksize=CHUNK_ROWS,
                encoding="utf-8-sig",
            )
            yield from chunks
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{source}: the file is empty") from error
    except pd.errors.ParserError as error:
        hint = " (a quote is never closed)" if "inside string" in str(error) else ""
        raise InputError(f"{source}: {str(error).strip()}{hint}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: {_first_broken_line(source)}") from error
    except FileNotFoundError as error:
        raise InputError(f"{source}: no such file or bucket") from error
    except Exception as error:  # each file system behind a URL has errors of its own
        raise InputError(f"{source}: cannot be read: {error}") from error


def _first_broken_line(source: str) -> str:
    with fsspec.open(source, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return f"line {number}, byte {error.start + 1}: not UTF-8 ({error.reason})"
    return "not UTF-8"


def _checked(source: str, chunk: pd.DataFrame, first_row: int) -> pyarrow.Table:
    """Hold a chunk to the schema and bring it to the columns of the output."""
    if missing := [name for name in ("text", "target") if name not in chunk]:
        raise InputError(f"{source}: the header lacks the column {' and '.join(missing)}")
    if not isinstance(chunk.index, pd.RangeIndex):  # pandas took the surplus field for an index
        raise InputError(f"{source}: line 2 has more fields than the header")
    chunk = chunk.set_axis(pd.RangeIndex(first_row, first_row + len(chunk)))
    try:
        SOURCE_SCHEMA.validate(chunk, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise InputError(_explain(source, error.failure_cases)) from error
    blank = pd.Series("", index=chunk.index, dtype=str)
    keyword = chunk.get("keyword", blank).map(unquote).str.strip().str.lower()
    return pyarrow.table(
        [
            chunk.get("id", chunk.index.astype(str).to_series(index=chunk.index)),
            chunk["text"],
            keyword,
            chunk["target"].astype("int8"),
        ],
        schema=OUTPUT_SCHEMA,
    )


def _explain(source: str, failures: pd.DataFrame) -> str:
    lines = [
        f"{source}: data row {case.index}: {case.check} (got {str(case.failure_case)[:40]!r})"
        for case in failures.sort_values("index").head(MAX_SHOWN).itertuples(index=False)
    ]
    if len(failures) > MAX_SHOWN:
        lines.append(f"... and {len(failures) - MAX_SHOWN} more in the same part of the file")
    return "\n".join(lines)


def _resolve(
    hashes: npt.NDArray[np.uint64], targets: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.bool_], dict[str, int]]:
    """Choose one row of each group of near-duplicates; return (rows,) mask and counts."""
    order = np.argsort(hashes, kind="stable")
    starts = np.flatnonzero(np.diff(hashes[order], prepend=~hashes[order[:1]]))
    sizes = np.diff(starts, append=len(order))
    positives = np.add.reduceat(targets[order], starts, dtype=np.int64)
    tied = positives * 2 == sizes
    majority = np.repeat((positives * 2 > sizes).astype(np.int8), sizes)
    group = np.repeat(np.arange(len(starts)), sizes)
    winners = np.flatnonzero((targets[order] == majority) & ~tied[group])
    _, first = np.unique(group[winners], return_index=True)
    keep = np.zeros(len(targets), dtype=bool)
    keep[order[winners[first]]] = True
    conflicting = (positives > 0) & (positives < sizes)
    counts = {
        "kept": int(keep.sum()),
        "merged_near_duplicates": int((sizes - 1)[~tied].sum()),
        "dropped_label_tie": int(sizes[tied].sum()),
        "groups_of_near_duplicates": int((sizes > 1).sum()),
        "groups_decided_by_majority": int((conflicting & ~tied).sum()),
        "groups_dropped_on_a_tie": int(tied.sum()),
    }
    return keep, counts


def _split(hashes: npt.NDArray[np.uint64], validation: float, test: float) -> npt.NDArray[np.int8]:
    """Place each hash on [0, 1) and cut there: (rows,) index into SPLITS."""
    place = hashes / 2.0**64
    return np.select([place < test, place < test + validation], [2, 1], 0).astype(np.int8)


def _write_splits(
    staged: Path,
    folder: Path,
    keep: npt.NDArray[np.bool_],
    split: npt.NDArray[np.int8],
    targets: npt.NDArray[np.int8],
) -> dict[str, Any]:
    """Copy the kept rows to their split's file, in the order of the source."""
    writers = {s: pq.ParquetWriter(folder / f"{s}.parquet", OUTPUT_SCHEMA) for s in SPLITS}
    done = 0
    with Progress(
        desc="prepare: writing", total=len(keep), unit=" rows", unit_scale=True
    ) as progress:
        for batch in pq.ParquetFile(staged).iter_batches(CHUNK_ROWS):
            here = slice(done, done + len(batch))
            for number, name in enumerate(SPLITS):
                chosen = batch.filter(pyarrow.array(keep[here] & (split[here] == number)))
                writers[name].write_batch(chosen)
            done += len(batch)
            progress.update(len(batch))
    for writer in writers.values():
        writer.close()
    rows = {}
    for number, name in enumerate(SPLITS):
        chosen = targets[keep & (split == number)]
        rows[name] = {
            "rows": len(chosen),
            "positive": int(chosen.sum()),
            "positive_share": round(float(chosen.mean()), 4) if len(chosen) else None,
        }
    return {"splits": rows}


def _check_usable(source: str, report: dict[str, Any]) -> None:
    positive = sum(split["positive"] for split in report["splits"].values())
    if positive in (0, report["rows"]["kept"]):
        only = "1" if positive else "0"
        raise InputError(f"{source}: only target {only} occurs; two classes are needed")
    for name, split in report["splits"].items():
        if not 0 < split["positive"] < split["rows"]:
            raise InputError(
                f"{source}: too few rows: the {name} split got {split['rows']} of "
                f"{report['rows']['kept']}, {split['positive']} of them positive; both classes "
                f"must occur in each split"
            )


def main() -> None:
    """Run the stage as params.yaml has it."""
    p = params.load().prepare
    report = prepare(p.source, PREPARED, p.seed, p.validation, p.test)
    print(" ".join(f"{name}={count}" for name, count in report["rows"].items()))
