"""Answers files block by block; the same command resumes a run that was stopped or killed."""

import json
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from common.errors import InputError
from common.progress import Progress
from common.storage import Folder
from locked.classifier import Classifier
from reader.files import size
from score.blocks import ROWS, Settings, Summary, answer, read_blocks
from score.sources import fingerprint

RUN = "run.json"
REFUSED = "refused.jsonl"
WRITERS = 8  # blocks that are written at a time: a write waits for a disk or a bucket
READERS = 32  # summaries that are read at a time
SUMMARY = TypeAdapter(Summary)


@dataclass
class Total:
    """The summary of all blocks."""

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, Any]] = field(default_factory=list)


def begin(files: list[str], settings: Settings, output: Folder) -> dict[str, str]:
    """Write run.json, or compare this run with it; return each file's fingerprint.

    Raises:
        InputError: the output folder belongs to another run, or run.json is damaged.

    """
    progress = Progress(files, desc="score: checking inputs", unit=" files", delay=2)
    fingerprints = {file: fingerprint(file) for file in progress}
    names = ("text", "encoding", "separator", "quotes")
    run = {name: getattr(settings, name) for name in ("model", "engine", "keep")}
    run |= {name: getattr(settings.form, name) for name in names}
    content = _json(run | {"block_rows": ROWS, "inputs": fingerprints}, indent=2)
    if output.read(RUN) is None:
        output.write(RUN, content)
    current, original = json.loads(content), _read_run(output)
    differences = [name for name in current if current[name] != original.get(name)]
    if "inputs" in differences:
        old, new = original["inputs"], current["inputs"]
        changed = sorted(name for name in old | new if old.get(name) != new.get(name))
        differences[differences.index("inputs")] = f"inputs ({', '.join(changed[:5])})"
    if differences:
        raise InputError(
            f"{output.url} belongs to a run with other settings: {', '.join(differences)}. Choose "
            f"a new output folder, or repeat the original command ({RUN} has its settings)"
        )
    return fingerprints


def score(
    fingerprints: dict[str, str],
    classifier: Classifier,
    settings: Settings,
    output: Folder,
) -> None:
    """Answer and write all blocks that are not written yet."""
    finished, rows, start = output.names("blocks"), 0, 0
    sizes = {file: size(file) for file in fingerprints}
    writes = deque[Future[None]]()
    with (
        Progress(desc="score", total=sum(sizes.values()), unit="B", unit_scale=True) as progress,
        ThreadPoolExecutor(WRITERS) as pool,
    ):
        for file, expected in fingerprints.items():
            for block in read_blocks(file, expected, settings):
                if f"{block.name}.json" not in finished:
                    answers = answer(block, classifier, settings)
                    writes.append(pool.submit(write, block.name, *answers, output))
                while writes and (len(writes) > WRITERS or writes[0].done()):
                    writes.popleft().result()
                rows += len(block.numbers) + len(block.refused)
                progress.set_postfix_str(f"{rows} rows", refresh=False)
                progress.update(max(0, start + block.position - progress.n))
            start += sizes[file]
            progress.update(start - progress.n)
        for pending in writes:
            pending.result()


def write(name: str, content: bytes, summary: Summary, output: Folder) -> None:
    """Write a block's answers and then its summary, which marks the block as finished."""
    try:
        output.write(f"answers/{name}.parquet", content)
        output.write(f"blocks/{name}.json", _json(asdict(summary)))
    except InputError as error:
        raise InputError(f"{error}. Finished blocks are kept") from error


def summarise(fingerprints: dict[str, str], output: Folder) -> Total:
    """Return the total of all blocks, and write all refused rows to one file."""
    order = {key: number for number, key in enumerate(fingerprints.values())}
    names = [name for name in output.names("blocks") if name.partition("-")[0] in order]
    names.sort(key=lambda name: (order[name.partition("-")[0]], name))
    total = Total()
    with ThreadPoolExecutor(READERS) as pool:
        for summary in pool.map(lambda name: read_summary(name, output), names):
            total.rows += summary.rows
            total.labels.update(summary.labels)
            total.refused += [
                {"file": summary.file, "row": number, "reason": reason}
                for number, reason in summary.refused
            ]
    output.write(REFUSED, b"".join(map(_json, total.refused)))
    return total


def read_summary(name: str, output: Folder) -> Summary:
    """Return the summary of a finished block."""
    file = f"blocks/{name}"
    try:
        return SUMMARY.validate_python(json.loads(output.read(file) or b""))
    except (ValueError, ValidationError) as error:
        raise InputError(
            f"{output.url}/{file} is damaged. Remove it and repeat the command"
        ) from error


def _read_run(output: Folder) -> dict[str, Any]:
    try:
        run = json.loads(output.read(RUN) or b"")
    except ValueError:
        run = None
    if not isinstance(run, dict) or not isinstance(run.get("inputs"), dict):
        raise InputError(
            f"{output.url}/{RUN} is damaged. Choose a new output folder; or, only if the "
            "command is the original one, remove the file and repeat the command"
        )
    return run


def _json(value: object, indent: int | None = None) -> bytes:
    return json.dumps(value, indent=indent, ensure_ascii=False).encode() + b"\n"
