"""Time and memory of the prepare stage on a generated file, beside pandas reading it whole.

    python -m tests.bench.prepare [ROWS]

The baseline reads the file into one data frame, normalises, drops duplicates and writes one
Parquet file: what a notebook would do, without checks, conflicts or a split.
"""

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from tqdm import trange

from stages import params
from stages.prepare.params import Prepare
from stages.prepare.stage import prepare

ROWS = 5_000_000
WORDS = "fire flood storm crash love game news the a of in on my your police rescue cake sun &amp;"


def generate(path: Path, rows: int) -> None:
    """Write tweets of 5 to 25 words; one in ten repeats an earlier one with another link."""
    chance = random.Random(1)  # noqa: S311 - a fixed file, not a secret
    words = [*WORDS.split(), *(f"word{i}" for i in range(2000))]
    recent = ["the first fire"]
    with path.open("w", encoding="utf-8") as file:
        file.write("id,keyword,location,text,target\n")
        for i in trange(rows, desc="generating", unit=" rows", unit_scale=True):
            if chance.random() < 0.1:
                text = chance.choice(recent)
            else:
                text = " ".join(chance.choices(words, k=chance.randint(5, 25)))
                recent[:] = [*recent[-999:], text]
            file.write(f'{i},fire,,"{text} https://t.example/{i}",{chance.random() < 0.43:d}\n')


def baseline(source: Path, output: Path) -> None:
    """Prepare as a notebook would."""
    tweets = pd.read_csv(source)
    words = tweets["text"].str.lower().str.replace(r"https?://\S+|@\w+", " ", regex=True)
    tweets["words"] = words.str.replace(r"[^\w\s]", " ", regex=True).str.split().str.join(" ")
    tweets.drop_duplicates("words").to_parquet(output)


def set_to(source: Path) -> Prepare:
    """Return the shipped settings for another source."""
    return params.load().prepare.model_copy(update={"source": str(source)})


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds and the peak memory in GB of `work`, done in a process of its own."""
    started = time.perf_counter()
    if (child := os.fork()) == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    if status:
        sys.exit(f"the measured work failed with status {status}")
    unit = 1 if sys.platform == "darwin" else 2**10  # bytes
    return time.perf_counter() - started, usage.ru_maxrss * unit / 2**30


def main() -> None:
    """Measure and print one table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "all.csv", rows)
        with (folder / "all.csv").open() as whole, (folder / "fifth.csv").open("w") as part:
            part.writelines(line for line, _ in zip(whole, range(rows // 5 + 1), strict=False))
        results = {}
        for label, file in (("a fifth", "fifth.csv"), ("all", "all.csv")):
            source, output = folder / file, folder / "out"
            results[f"prepare, {label}"] = (
                source.stat().st_size / 2**30,
                *measure(lambda s=source, o=output: prepare(set_to(s), o)),  # type: ignore[misc]
            )
        source = folder / "all.csv"
        results["baseline, all"] = (
            source.stat().st_size / 2**30,
            *measure(lambda: baseline(source, folder / "out.parquet")),
        )
    _, base_seconds, base_memory = results["baseline, all"]
    print(f"{rows} rows; the baseline is pandas with the whole file in memory")
    print(f"{'':18}{'file GB':>9}{'seconds':>9}{'ratio':>7}{'peak GB':>9}{'ratio':>7}")
    for name, (size, seconds, memory) in results.items():
        print(
            f"{name:18}{size:9.2f}{seconds:9.1f}{seconds / base_seconds:7.2f}"
            f"{memory:9.2f}{memory / base_memory:7.2f}"
        )


if __name__ == "__main__":
    main()
