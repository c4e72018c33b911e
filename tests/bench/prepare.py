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
from functools import partial
from pathlib import Path

import pandas as pd
from tqdm import trange

from stages import params
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


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds and the peak memory in GB of `work`, in a process of its own."""
    start = time.perf_counter()
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
    return time.perf_counter() - start, usage.ru_maxrss * unit / 2**30


def main() -> None:
    """Measure and print one table."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    p = params.load().prepare
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {}
        for label, number in (("a fifth", rows // 5), ("all", rows)):
            generate(source := folder / f"{number}.csv", number)
            q = p.model_copy(update={"source": str(source)})
            results[f"prepare, {label}"] = measure(partial(prepare, q, folder / "out"))
        results["baseline, all"] = measure(partial(baseline, source, folder / "out.parquet"))
    base_seconds, base_memory = results["baseline, all"]
    print(f"{rows} rows; the baseline is pandas with the whole file in memory")
    print(f"{'':18}{'seconds':>9}{'ratio':>7}{'peak GB':>9}{'ratio':>7}")
    for name, (seconds, memory) in results.items():
        ratios = seconds / base_seconds, memory / base_memory
        print(f"{name:18}{seconds:9.1f}{ratios[0]:7.2f}{memory:9.2f}{ratios[1]:7.2f}")


if __name__ == "__main__":
    main()
