"""Turns any table of tweets into checked splits without duplicates, in Parquet.

Files are read in chunks. Only a label and some 160 bytes a row stay in memory, so that millions of
rows fit where their text would not.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet as pq

from common.atomic import new_folder
from common.errors import InputError
from common.progress import Progress
from reader.table import CHUNK_ROWS
from stages.prepare.params import Prepare
from stages.prepare.source import OUTPUT_SCHEMA, Mask, Rows, write_rows
from stages.prepare.splits import SPLITS, Split, by_group, by_hash, by_time, leaking
from stages.shared.outputs import PREPARED, write_json

if TYPE_CHECKING:
    from stages.params import Params

MAX_SHOWN = 20  # groups and labels named in the report


def prepare(p: Prepare, output: Path) -> dict[str, Any]:
    """Write {train,validation,test}.parquet and report.json to `output`; return the report.

    Of duplicates (see reader.canonical), the first row with the majority's label stays; on a tie
    none does. Near-duplicates (see stages.prepare.duplicates) stay in one split. The split depends
    on texts and seed alone, so adding rows moves none of the others.

    Args:
        p: the section of params.yaml.
        output: folder to make; it appears only when complete.

    Raises:
        InputError: the source cannot be read or used; the message names the place.

    """
    with new_folder(output) as folder:
        checked = folder / "checked.parquet"
        rows = write_rows(p, checked)
        near = rows.duplicates.near
        keep, counts = _resolve(rows)
        split, split_report = _split(p, rows)
        split[rows.train_only] = 0
        judging = keep & (split > 0)
        like_judging = keep & rows.train_only & np.isin(near, near[judging])
        keep &= ~like_judging
        leaks = leaking(split, near, keep)
        keep &= ~leaks
        _write_splits(checked, folder, np.where(keep, split, -1))
        checked.unlink()
        sizes = np.unique(near[keep], return_counts=True)[1]
        report = {
            "source": Path(p.source).name,
            "files": rows.files,
            "rows": {
                "read": len(keep) + rows.dropped.total(),
                "dropped_other_label": rows.dropped.total(),
                "kept": int(keep.sum()),
                **counts,
                "dropped_like_an_earlier_split": int(leaks.sum()),
                "dropped_like_what_judges": int(like_judging.sum()),
                "much_alike_in_one_split": int(sizes[sizes > 1].sum()),
            },
            "other_labels": dict(rows.dropped.most_common(MAX_SHOWN)),
            "split": split_report,
            "splits": {
                name: _size(rows.targets[keep & (split == number)])
                for number, name in enumerate(SPLITS)
            },
        }
        _check_usable(p.source, report)
        write_json(folder / "report.json", report)
    return report


def _split(p: Prepare, rows: Rows) -> tuple[Split, dict[str, Any]]:
    """Return (rows,) index into SPLITS, and the report's entry about it."""
    about = dict[str, Any]()
    if p.time:
        times = np.asarray(rows.split_by)
        split = by_time(times, p.validation, p.test)
        for number, name in enumerate(SPLITS):
            if len(own := times[split == number]):
                edges = (pd.Timestamp(int(t), unit="ms", tz="UTC") for t in (own.min(), own.max()))
                about[name] = [edge.isoformat() for edge in edges]
        return split, {"by": "time", "column": p.time, **about}
    if p.group:
        groups = pd.Series(rows.split_by.to_pandas(), dtype=str)
        split = by_group(groups, rows.duplicates, p.seed, p.held_out, p.validation, p.test)
        for number, name in enumerate(SPLITS):
            names = sorted(groups[split == number].unique())
            about[name] = names if len(names) <= MAX_SHOWN else f"{len(names)} groups"
        return split, {"by": "group", "column": p.group, **about}
    # Rows that only train must not influence how the others are split.
    hashes = np.where(rows.train_only, np.iinfo(np.uint64).max, rows.duplicates.hashes)
    split = by_hash(rows.duplicates._replace(hashes=hashes), p.validation, p.test)
    return split, {"by": "text"}


def _resolve(rows: Rows) -> tuple[Mask, dict[str, int]]:
    """Choose one row of each tweet; return a (rows,) mask and counts for the report."""
    targets, same = rows.targets, rows.duplicates.same
    order = np.lexsort((rows.train_only, same))  # of two, the one that may be in the test split
    starts = np.flatnonzero(np.diff(same[order], prepend=-1))
    sizes = np.diff(starts, append=len(order))
    positives = np.add.reduceat(targets[order], starts, dtype=np.int64)
    tied = positives * 2 == sizes
    majority = np.repeat((positives * 2 > sizes).astype(np.int8), sizes)
    tweet = np.repeat(np.arange(len(starts)), sizes)
    winners = np.flatnonzero((targets[order] == majority) & ~tied[tweet])
    _, first = np.unique(tweet[winners], return_index=True)
    keep = np.zeros(len(targets), dtype=bool)
    keep[order[winners[first]]] = True
    conflicting = (positives > 0) & (positives < sizes)
    return keep, {
        "merged_near_duplicates": int((sizes - 1)[~tied].sum()),
        "dropped_label_tie": int(sizes[tied].sum()),
        "groups_of_near_duplicates": int((sizes > 1).sum()),
        "groups_decided_by_majority": int((conflicting & ~tied).sum()),
        "groups_dropped_on_a_tie": int(tied.sum()),
    }


def _write_splits(checked: Path, folder: Path, split: Split) -> None:
    """Copy each row to its split's file, in the order of the source; drop those of split -1."""
    writers = [pq.ParquetWriter(folder / f"{name}.parquet", OUTPUT_SCHEMA) for name in SPLITS]
    written = 0
    with Progress(
        desc="prepare: writing", total=len(split), unit=" rows", unit_scale=True
    ) as progress:
        for batch in pq.ParquetFile(checked).iter_batches(CHUNK_ROWS):
            own = split[written : written + len(batch)]
            for number, writer in enumerate(writers):
                writer.write_batch(batch.filter(pyarrow.array(own == number)))
            written += len(batch)
            progress.update(len(batch))
    for writer in writers:
        writer.close()


def _size(targets: "np.ndarray[Any, np.dtype[np.int8]]") -> dict[str, Any]:
    return {
        "rows": len(targets),
        "positive": int(targets.sum()),
        "positive_share": round(float(targets.mean()), 4) if len(targets) else None,
    }


def _check_usable(source: str, report: dict[str, Any]) -> None:
    positive = sum(split["positive"] for split in report["splits"].values())
    if positive in (0, report["rows"]["kept"]):
        only = "disaster" if positive else "not_disaster"
        raise InputError(f"{source}: only {only} occurs; two classes are needed")
    for name, split in report["splits"].items():
        if not 0 < split["positive"] < split["rows"]:
            raise InputError(
                f"{source}: too few rows: the {name} split got {split['rows']} of "
                f"{report['rows']['kept']}, {split['positive']} of them positive; both classes "
                f"must occur in each split. {report['rows']['much_alike_in_one_split']} rows are "
                "near-duplicates, which stay in one split"
            )


def main(p: "Params") -> None:
    """Run the stage by params.yaml, and print its report."""
    report = prepare(p.prepare, PREPARED)
    for file in report["files"]:
        print(", ".join(f"{name} {value}" for name, value in file.items()))
    print(" ".join(f"{name}={count}" for name, count in report["rows"].items()))
    for value, count in report["other_labels"].items():
        print(f"dropped: label {value!r}, {count} rows")
