"""Scores all files, a block at a time; killed at any time, it goes on where it was."""

import json
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any

from common.errors import InputError
from common.progress import Progress
from locked.classifier import Classifier
from reader.files import fingerprint, size
from score.blocks import ROWS, Block, Record, Settings, answered, blocks
from score.sink import Sink

RUN = "run.json"
REFUSED = "refused.jsonl"
WRITTEN = (RUN, REFUSED, "answers", "blocks")  # what a run has in its output
WAITING = 2  # blocks between reading and answering
WRITERS = 8  # blocks that are written at once: it is waiting for a disk or a bucket


@dataclass
class Total:
    """What became of all rows."""

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, Any]] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Count a block's rows."""
        self.rows += record.rows
        self.labels.update(record.labels)
        self.refused += [
            {"file": record.file, "row": number, "reason": reason}
            for number, reason in record.refused
        ]


def begin(files: list[str], settings: Settings, out: Sink) -> dict[str, str]:
    """Pin what the run follows from, or check that it is as it was; return files' fingerprints.

    Raises:
        InputError: another run's answers are there, or what that run began with cannot be read.

    """
    pins = {file: fingerprint(file) for file in files}
    form = {name: getattr(settings.form, name) for name in ("encoding", "separator", "quotes")}
    wanted = asdict(settings) | {"form": form, "block_rows": ROWS, "inputs": pins}
    plain = json.loads(json.dumps(wanted))
    if (there := out.get(RUN)) is None:
        out.put(RUN, json.dumps(plain, indent=2, ensure_ascii=False).encode() + b"\n")
        there = out.get(RUN)
    known = _known(there, f"{out.uri}/{RUN}")
    differing = [name for name in plain if plain[name] != known.get(name)]
    if "inputs" in differing:
        before, now = known["inputs"], plain["inputs"]
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        differing[differing.index("inputs")] = f"inputs ({', '.join(sorted(changed)[:5])})"
    if differing:
        raise InputError(
            f"{RUN} there is of another run: {', '.join(differing)} differ; name a new folder, or "
            "take what it says"
        )
    return pins


def score(
    pins: dict[str, str],
    classifier: Classifier,
    settings: Settings,
    out: Sink,
    stopping: threading.Event,
) -> Total | None:
    """Answer all blocks that are not there yet; return what became of all rows.

    Reading, answering and writing overlap. None is returned where `stopping` was set meanwhile:
    then the block under way is finished.
    """
    total, done = Total(), out.names("blocks")
    files = {file: size(file) for file in pins}
    ends = dict(zip(files, accumulate(files.values()), strict=True))
    records = deque[Future[Record]]()

    with (
        Progress(desc="score", total=sum(files.values()), unit="B", unit_scale=True) as progress,
        closing(_ahead(_all_blocks(pins, settings, stopping))) as read,
        ThreadPoolExecutor(WRITERS) as pool,
    ):
        for block in read:
            if stopping.is_set():
                break
            if f"{block.name}.json" in done:
                records.append(pool.submit(record, block.name, out))
            else:
                answers = answered(block, classifier, settings)
                records.append(pool.submit(keep, block.name, *answers, settings, out))
            while records and (len(records) > WRITERS or records[0].done()):
                total.add(records.popleft().result())
            progress.set_postfix_str(f"{total.rows} rows", refresh=False)
            read_to = ends[block.file] - files[block.file] + block.position  # 0 at a file's end
            progress.update(max(0, read_to - progress.n))
        for pending in records:
            total.add(pending.result())
        if stopping.is_set():
            return None
        progress.set_postfix_str(f"{total.rows} rows", refresh=False)
        progress.update(progress.total - progress.n)
    name_refused(total, out)
    return total


def record(name: str, out: Sink) -> Record:
    """Read what became of the rows of a block."""
    file = f"blocks/{name}.json"
    return Record.loaded(out.get(file), f"{out.uri}/{file}")


def keep(name: str, content: bytes, record: Record, settings: Settings, out: Sink) -> Record:
    """Write a block's answers, and then the record, which says that they are there."""
    out.put(f"answers/{name}.{settings.format}", content)
    out.put(f"blocks/{name}.json", record.dumped())
    return record


def name_refused(total: Total, out: Sink) -> None:
    """Write which rows have no answer, and why."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in total.refused)
    out.put(REFUSED, lines.encode())


def _known(content: bytes | None, name: str) -> dict[str, Any]:
    try:
        known = json.loads(content or b"")
    except ValueError:
        known = None
    if not isinstance(known, dict) or not isinstance(known.get("inputs"), dict):
        raise InputError(
            f"{name} is damaged, or no run's; name a new folder, or remove it if the call is the "
            "very same as before"
        )
    return known


def _all_blocks(
    pins: dict[str, str], settings: Settings, stopping: threading.Event
) -> Iterator[Block]:
    for file, pinned in pins.items():
        for block in blocks(file, pinned, settings):
            if stopping.is_set():
                return
            yield block


def _ahead(items: Iterator[Block]) -> Generator[Block, None, None]:
    """Yield blocks that another thread has read beforehand."""
    with ThreadPoolExecutor(1) as reader:
        pending = deque(reader.submit(next, items, None) for _ in range(WAITING))
        while block := pending.popleft().result():
            pending.append(reader.submit(next, items, None))
            yield block
