"""Any table of tweets -> checked, de-duplicated, split tweets in Parquet.

Files are read in chunks. What stays in memory is a label and some 160 bytes a row, so that millions
of rows fit where their text would not.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow
import pyarrow.parquet as pq

from common.atomic import new_folder
from common.errors import InputError
from common.progress import Progress
from reader.table import CHUNK_ROWS
from stages.prepare.duplicates import Rows
from stages.prepare.params import Prepare
from stages.prepare.source import OUTPUT_SCHEMA, Source, stage
from stages.prepare.splits import SPLITS, Split, by_group, by_hash, by_time, leaking
from stages.shared.outputs import PREPARED, write_json

if TYPE_CHECKING:
    from stages.params import Params

MAX_SHOWN = 20  # groups and labels named in the report


def prepare(p: Prepare, output: Path) -> dict[str, Any]:
    """Write {train,validation,test}.parquet and report.json to `output`; return the report.

    Tweets of one canonical text (see reader.canonical) are one tweet: the first with the majority
    label stays, and on a tie none does. Those much alike (see stages.duplicates) stay in one split,
    which is a function of their texts and the seed alone: a row keeps its place whatever is added.

    Args:
        p: the section of params.yaml.
        output: folder to make; it appears only when complete.

    Raises:
        InputError: the source cannot be read or used; the message names the place.

    """
    with new_folder(output) as folder:
        staged = folder / "staged.parquet"
        source = stage(p, staged)
        keep, counts = _resolve(source.kin.same, source.targets, source.train_only)
        split, drawn = _split(p, source)
        split[source.train_only] = 0
        judging = keep & (split > 0)
        told = keep & source.train_only & np.isin(source.kin.near, source.kin.near[judging])
        keep &= ~told
        leaks = leaking(split, source.kin.near, keep)
        keep &= ~leaks
        sizes = _write_splits(staged, folder, keep, split, source.targets)
        staged.unlink()
        alike = np.unique(source.kin.near[keep], return_counts=True)[1]
        report = {
            "source": Path(p.source).name,
            "files": source.files,
            "rows": {
                "read": len(source.targets) + source.others.total(),
                "dropped_other_label": source.others.total(),
                "kept": int(keep.sum()),
                **counts,
                "dropped_like_an_earlier_split": int(leaks.sum()),
                "dropped_like_what_judges": int(told.sum()),
                "much_alike_in_one_split": int(alike[alike > 1].sum()),
            },
            "other_labels": dict(source.others.most_common(MAX_SHOWN)),
            "split": drawn,
            **sizes,
        }
        _check_usable(p.source, report)
        write_json(folder / "report.json", report)
    return report


def _split(p: Prepare, source: Source) -> tuple[Split, dict[str, Any]]:
    """Place each row; return (rows,) index into SPLITS, and what there is to say of it."""
    if p.time:
        times = source.sides.to_numpy(dtype=np.int64)
        split = by_time(times, p.validation, p.test)
        spans = {
            name: [
                pd.Timestamp(int(edge), unit="ms", tz="UTC").isoformat()
                for edge in (times[split == number].min(), times[split == number].max())
            ]
            for number, name in enumerate(SPLITS)
            if (split == number).any()
        }
        return split, {"by": "time", "column": p.time, **spans}
    if p.group:
        split = by_group(source.sides, source.kin, p.seed, p.held_out, p.validation, p.test)
        names = {
            name: sorted(source.sides[split == number].unique())
            for number, name in enumerate(SPLITS)
        }
        shown = {
            name: found if len(found) <= MAX_SHOWN else f"{len(found)} groups"
            for name, found in names.items()
        }
        return split, {"by": "group", "column": p.group, **shown}
    last = np.iinfo(np.uint64).max  # what judges no model moves none that does
    kin = source.kin._replace(hashes=np.where(source.train_only, last, source.kin.hashes))
    return by_hash(kin, p.validation, p.test), {"by": "text"}


def _resolve(
    same: Rows, targets: npt.NDArray[np.int8], train_only: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], dict[str, int]]:
    """Choose one row of each tweet; return (rows,) mask and counts."""
    order = np.lexsort((train_only, same))  # so that of two, the one that may judge stays
    starts = np.flatnonzero(np.diff(same[order], prepend=-1))
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
        "merged_near_duplicates": int((sizes - 1)[~tied].sum()),
        "dropped_label_tie": int(sizes[tied].sum()),
        "groups_of_near_duplicates": int((sizes > 1).sum()),
        "groups_decided_by_majority": int((conflicting & ~tied).sum()),
        "groups_dropped_on_a_tie": int(tied.sum()),
    }
    return keep, counts


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
        only = "disaster" if positive else "not_disaster"
        raise InputError(f"{source}: only {only} occurs; two classes are needed")
    for name, split in report["splits"].items():
        if not 0 < split["positive"] < split["rows"]:
            raise InputError(
                f"{source}: too few rows: the {name} split got {split['rows']} of "
                f"{report['rows']['kept']}, {split['positive']} of them positive; both classes "
                f"must occur in each split"
            )


def main(p: "Params") -> None:
    """Run the stage as params.yaml has it."""
    report = prepare(p.prepare, PREPARED)
    for file in report["files"]:
        print(", ".join(f"{name} {found}" for name, found in file.items()))
    print(" ".join(f"{name}={count}" for name, count in report["rows"].items()))
    for value, count in report["other_labels"].items():
        print(f"dropped: label {value!r}, {count} rows")
