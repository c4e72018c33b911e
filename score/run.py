"""A run: files in, blocks of answers out; after a kill, the same call continues it."""

import json
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from common.errors import InputError
from common.progress import Progress
from common.storage import Folder
from locked.classifier import Classifier
from reader.files import size
from score.blocks import ROWS, Settings, Summary, answer, blocks
from score.sources import fingerprint

RUN = "run.json"
REFUSED = "refused.jsonl"
WRITTEN = (RUN, REFUSED, "answers", "blocks")  # the names in an output folder
WRITERS = 8  # blocks that are written at once: writing waits for a disk or a bucket
READERS = 32  # summaries that are read at once
SUMMARY = TypeAdapter(Summary)


@dataclass
class Total:
    """The summary of all blocks."""

    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, Any]] = field(default_factory=list)


def begin(files: list[str], settings: Settings, output: Folder) -> dict[str, str]:
    """Write the settings and inputs, or compare them; return each file's fingerprint.

    Raises:
        InputError: the output folder belongs to another run, or run.json is damaged.

    """
    progress = Progress(files, desc="score: checking inputs", unit=" files", delay=2)
    fingerprints = {file: fingerprint(file) for file in progress}
    names = ("text", "encoding", "separator", "quotes")
    call = {name: getattr(settings, name) for name in ("model", "engine", "keep", "format")}
    call |= {name: getattr(settings.form, name) for name in names}
    content = _json(call | {"block_rows": ROWS, "inputs": fingerprints}, indent=2)
    if output.read(RUN) is None:
        output.write(RUN, content)
    current, first = json.loads(content), _run(output)
    differences = [name for name in current if current[name] != first.get(name)]
    if "inputs" in differences:
        before, now = first["inputs"], current["inputs"]
        changed = sorted(name for name in before | now if before.get(name) != now.get(name))
        differences[differences.index("inputs")] = f"inputs ({', '.join(changed[:5])})"
    if differences:
        raise InputError(
            f"{output.url} belongs to a run with other settings: {', '.join(differences)}. Choose "
            f"a new output folder, or repeat the original call ({RUN} has its settings)"
        )
    return fingerprints


def score(
    fingerprints: dict[str, str],
    classifier: Classifier,
    settings: Settings,
    output: Folder,
    signals: Sequence[int],
) -> None:
    """Answer and write all blocks that are not written yet; return early after a signal."""
    finished, rows, start = output.names("blocks"), 0, 0
    sizes = {file: size(file) for file in fingerprints}
    writes = deque[Future[None]]()
    with (
        Progress(desc="score", total=sum(sizes.values()), unit="B", unit_scale=True) as progress,
        ThreadPoolExecutor(WRITERS) as pool,
    ):
        for file, expected in fingerprints.items():
            for block in blocks(file, expected, settings):
                if signals:
                    return
                if f"{block.name}.json" not in finished:
                    answers = answer(block, classifier, settings)
                    writes.append(pool.submit(write, block.name, *answers, settings, output))
                while writes and (len(writes) > WRITERS or writes[0].done()):
                    writes.popleft().result()
                rows += len(block.numbers) + len(block.refused)
                progress.set_postfix_str(f"{rows} rows", refresh=False)
                progress.update(max(0, start + block.position - progress.n))
            start += sizes[file]
            progress.update(start - progress.n)
        for pending in writes:
            pending.result()


def write(name: str, content: bytes, summary: Summary, settings: Settings, output: Folder) -> None:
    """Write a block's answers and then its summary, which marks the block as finished."""
    try:
        output.write(f"answers/{name}.{settings.format}", content)
        output.write(f"blocks/{name}.json", _json(asdict(summary)))
    except InputError as error:
        raise InputError(f"{error}. Finished blocks are kept") from error


def summarise(fingerprints: dict[str, str], output: Folder) -> Total:
    """Add up the summaries of all blocks, and list their refused rows in a file of their own."""
    order = {print_: number for number, print_ in enumerate(fingerprints.values())}
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
            f"{output.url}/{file} is damaged. Remove it and repeat the call"
        ) from error


def _run(output: Folder) -> dict[str, Any]:
    try:
        run = json.loads(output.read(RUN) or b"")
    except ValueError:
        run = None
    if not isinstance(run, dict) or not isinstance(run.get("inputs"), dict):
        raise InputError(
            f"{output.url}/{RUN} is damaged. Choose a new output folder; or, only if the call is "
            "the original one, remove the file and repeat the call"
        )
    return run


def _json(value: object, indent: int | None = None) -> bytes:
    return json.dumps(value, indent=indent, ensure_ascii=False).encode() + b"\n"
