"""Running the prepare stage on a table that a test has written."""

from pathlib import Path
from typing import Any

import pandas as pd

from stages import params
from stages.params import Prepare
from stages.prepare.splits import SPLITS
from stages.prepare.stage import prepare
from tests.conftest import ROOT

HEADER = "id,keyword,location,text,target\n"
CLASSES = "id\ttweet\tclass\tevent\n" + "".join(
    f"{10**18 + i}\tthing {i} says {i * 7919}\t{('rescue', 'damage', 'other', 'unsure')[i % 4]}\t"
    f"event {i % 5}\n"
    for i in range(400)
)
NAMED: dict[str, Any] = {
    **{"text": "tweet", "label": "Class"},
    **{"disaster": ["rescue", "Damage"], "not_disaster": ["other"]},
}


def settings(source: Path | str, **others: object) -> Prepare:
    shipped = params.load(ROOT / "params.yaml").prepare.model_dump()
    shipped |= {"source": str(source), "seed": 1, "validation": 0.2, "test": 0.2}
    return Prepare.model_validate(shipped | others)


def run(source: Path | str, output: Path, **others: object) -> dict[str, pd.DataFrame]:
    prepare(settings(source, **others), output)
    return {split: pd.read_parquet(output / f"{split}.parquet") for split in SPLITS}


def rows(count: int) -> list[str]:
    return [f"{i},,,tweet number {i} says {i * 7919},{i % 2}\n" for i in range(1, count + 1)]


def write(path: Path, lines: list[str], header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "".join(lines), encoding="utf-8")
    return path
