"""Any table of tweets -> checked splits without duplicates, in Parquet."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet as pq

from common.atomic import new_folder
from common.errors import InputError
from stages.prepare.duplicates import Duplicates, find_duplicates
from stages.prepare.source import SCHEMA, Mask, read_rows
from stages.prepare.splits import (
    SPLITS,
    Split,
    find_leaks,
    split_by_group,
    split_by_hash,
    split_by_time,
)
from stages.shared.outputs import PREPARED, write_json

if TYPE_CHECKING:
    from stages.params import Params, Prepare

MAX_SHOWN = 20  # groups and labels named in the report


def prepare(p: "Prepare", output: Path) -> dict[str, Any]:
    """Write {train,validation,test}.parquet and report.json to `output`; return the report.

    Of duplicates, the first row with the majority's label is kept; on a tie, none is kept.
    Near-duplicates (see stages.prepare.duplicates) stay in one split. The default split depends on
    texts and seed only, so new rows do not move others.

    Raises InputError if the source cannot be read or used; the message names file and row.
    """
    files, table, dropped = read_rows(p)
    targets, train_only = (table[name].to_numpy() for name in ("target", "train_only"))
    duplicates = find_duplicates(table["text"], p.seed)
    near = duplicates.near
    split, split_report = _split(p, table, duplicates)
    split[train_only] = 0
    is_kept, counts = _resolve(targets, duplicates, train_only)
    is_held_out = is_kept & (split > 0)
    is_train_only_leak = is_kept & train_only & np.isin(near, near[is_held_out])
    is_kept &= ~is_train_only_leak
    is_leak = find_leaks(split, near, is_kept)
    is_kept &= ~is_leak
    sizes = np.unique(near[is_kept], return_counts=True)[1]
    rows_of = {name: is_kept & (split == number) for number, name in enumerate(SPLITS)}
    report = {
        "source": Path(p.source).name,
        "files": files,
        "rows": {
            "read": len(is_kept) + dropped.total(),
            "kept": int(is_kept.sum()),
            "dropped_other_label": dropped.total(),
            **counts,
            "dropped_near_duplicates_of_an_earlier_split": int(is_leak.sum()),
            "dropped_train_only_near_duplicates": int(is_train_only_leak.sum()),
            "near_duplicates_within_a_split": int(sizes[sizes > 1].sum()),
        },
        "other_labels": dict(dropped.most_common(MAX_SHOWN)),
        "split": split_report,
        "splits": {name: _describe(targets[rows]) for name, rows in rows_of.items()},
    }
    _check_usable(p.source, report)
    columns = SCHEMA.names
    if p.group:
        table, columns = table.append_column("group", table["split_by"]), [*columns, "group"]
    with new_folder(output) as folder:
        for name, rows in rows_of.items():
            part = table.filter(pyarrow.array(rows)).select(columns)
            pq.write_table(part, folder / f"{name}.parquet")
        write_json(folder / "report.json", report)
    return report


def _split(
    p: "Prepare", table: pyarrow.Table, duplicates: Duplicates
) -> tuple[Split, dict[str, Any]]:
    """Return the split of each row, and the report's entry about it."""
    split_by = table["split_by"].to_pandas()
    if p.time:
        split = split_by_time(split_by.to_numpy(), p.validation, p.test)
        return split, {"by": "time", "column": p.time}
    if p.group:
        groups = split_by.astype(str)
        split = split_by_group(groups, duplicates, p.seed, p.held_out, p.validation, p.test)
        names_of = [sorted(groups[split == number].unique()) for number in range(len(SPLITS))]
        shown = [names if len(names) <= MAX_SHOWN else f"{len(names)} groups" for names in names_of]
        return split, {"by": "group", "column": p.group, **dict(zip(SPLITS, shown, strict=True))}
    # Train-only rows must not influence how other rows are split.
    is_train_only = table["train_only"].to_numpy()
    hashes = np.where(is_train_only, np.iinfo(np.uint64).max, duplicates.hashes)
    return split_by_hash(duplicates._replace(hashes=hashes), p.validation, p.test), {"by": "text"}


def _resolve(
    targets: "np.ndarray[Any, np.dtype[np.int8]]", duplicates: Duplicates, train_only: Mask
) -> tuple[Mask, dict[str, int]]:
    """Choose one row of each tweet; return a mask of these rows, and counts for the report."""
    columns = {"tweet": duplicates.same, "target": targets, "train_only": train_only}
    rows = pd.DataFrame(columns)
    labels = rows.groupby("tweet")["target"]
    share, size = labels.transform("mean"), labels.transform("size")
    is_tied, has_majority_label = share == 0.5, rows["target"] == (share > 0.5)
    # Rows that may be in the test split are preferred.
    candidates = rows[has_majority_label & ~is_tied].sort_values("train_only", kind="stable")
    is_kept = np.zeros(len(rows), dtype=bool)
    is_kept[candidates.drop_duplicates("tweet").index] = True
    is_first = ~rows["tweet"].duplicated()
    is_conflicting = is_first & (share > 0) & (share < 1)
    return is_kept, {
        "merged_duplicates": int((size - 1)[is_first & ~is_tied].sum()),
        "dropped_label_tie": int(is_tied.sum()),
        "sets_of_duplicates": int((is_first & (size > 1)).sum()),
        "sets_decided_by_majority": int((is_conflicting & ~is_tied).sum()),
        "sets_dropped_on_a_tie": int((is_conflicting & is_tied).sum()),
    }


def _describe(targets: "np.ndarray[Any, np.dtype[np.int8]]") -> dict[str, Any]:
    return {
        "rows": len(targets),
        "positive": int(targets.sum()),
        "positive_share": round(float(targets.mean()), 4) if len(targets) else None,
    }


def _check_usable(source: str, report: dict[str, Any]) -> None:
    """Raise InputError if a split lacks a class."""
    rows = report["rows"]
    positive = sum(split["positive"] for split in report["splits"].values())
    if positive in (0, rows["kept"]):
        only = "disaster" if positive else "not_disaster"
        raise InputError(f"{source}: only {only} occurs; two classes are needed")
    for name, split in report["splits"].items():
        if not 0 < split["positive"] < split["rows"]:
            raise InputError(
                f"{source}: too few rows: the {name} split got {split['rows']} of "
                f"{rows['kept']}, {split['positive']} of them positive; both classes must occur "
                f"in each split. {rows['near_duplicates_within_a_split']} rows are "
                "near-duplicates, which stay in one split"
            )


def main(p: "Params") -> None:
    """Run the stage as params.yaml has it, and print its report."""
    report = prepare(p.prepare, PREPARED)
    for file in report["files"]:
        print(", ".join(f"{name} {value}" for name, value in file.items()))
    print(" ".join(f"{name}={count}" for name, count in report["rows"].items()))
    for value, count in report["other_labels"].items():
        print(f"dropped: label {value!r}, {count} rows")
