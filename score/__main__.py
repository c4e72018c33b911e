"""Answer every tweet of a table: label and probability beside each row.

    python -m score tweets.parquet out/
    python -m score 'archive/*.csv.gz' gs://bucket/answers --text tweet --keep id
    python -m score gs://bucket/archive gs://bucket/answers --runner DataflowRunner ...

Inputs are CSV, TSV, JSON lines or Parquet, packed or not, by path, folder, glob or URL. The answers
are in OUTPUT/answers/, what has none in OUTPUT/refused.jsonl. Killed or stopped, the same call goes
on where it was.

exit status: 0 each row is answered; 1 an error; 2 a wrong call; 3 some rows are refused; 130 or 143
stopped by Ctrl-C or SIGTERM
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path, PurePath, PurePosixPath

from common.errors import InputError, run
from locked.engines import ENGINES, fastest
from locked.store import GCS
from reader.files import find, of_several
from reader.format import Format
from score.blocks import Settings
from score.model import locked, version
from score.run import RUN, WRITTEN, Total, begin, score
from score.sink import Sink, sink


def arguments() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(prog="python -m score", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="a path, folder, glob or URL")
    parser.add_argument("output", help="a folder or a gs:// prefix")
    parser.add_argument("--model", default="models/classifier", help="a folder or a gs:// prefix")
    parser.add_argument("--text", default="text", help="the column (default: text)")
    parser.add_argument("--keep", nargs="*", metavar="COLUMN", help="columns to keep, not all")
    parser.add_argument("--format", choices=("parquet", "csv", "jsonl"), default="parquet")
    parser.add_argument("--files", default="*", help="which files of a folder (default: all)")
    parser.add_argument("--encoding", help="of text files; found out if not given")
    parser.add_argument("--separator", help="likewise")
    parser.add_argument("--quotes", choices=("double", "backslash", "none"), help="likewise")
    parser.add_argument("--engine", choices=[*ENGINES], help="the faster one if not given")
    parser.add_argument("--threads", type=int, default=0, help="one a core; one on Beam")
    beam = "on Apache Beam: DirectRunner, DataflowRunner or another, then its options; comes last"
    parser.add_argument("--runner", nargs=argparse.REMAINDER, metavar="NAME", help=beam)
    return parser


def settings(chosen: argparse.Namespace, version: str) -> Settings:
    """Return what the answers follow from."""
    return Settings(
        model=version,
        engine=chosen.engine or fastest(),
        text=chosen.text,
        keep=None if chosen.keep is None else tuple(chosen.keep),
        format=chosen.format,
        form=Format(
            chosen.text,
            encoding=chosen.encoding,
            separator=chosen.separator,
            quotes=chosen.quotes,
        ),
    )


def inputs(chosen: argparse.Namespace, out: Sink) -> list[str]:
    """Return the files to read, without those that this run wrote.

    Raises:
        InputError: there are none, or others are where the answers go.

    """
    found = {file: within(file, chosen.output) for file in find(chosen.inputs, chosen.files)}
    begun = out.get(RUN) is not None
    for file, place in found.items():
        if place is not None and place.parts and not (begun and place.parts[0] in WRITTEN):
            raise InputError(f"{file}: OUTPUT holds this input; name a folder of its own")
    files = [file for file, place in found.items() if place is None]
    if not files:
        raise InputError(f"{chosen.output}: OUTPUT holds all inputs; name a folder of its own")
    return files


def within(file: str, folder: str) -> PurePath | None:
    """Return the path from a folder to a file below it, None where it is elsewhere."""
    places = [
        PurePosixPath(name) if "://" in name else Path(name).expanduser().resolve()
        for name in (name.removeprefix("file://") for name in (file, folder))
    ]
    return places[0].relative_to(places[1]) if places[0].is_relative_to(places[1]) else None


def summary(total: Total) -> str:
    """Say what became of the rows."""
    answered = sum(total.labels.values())
    labels = ", ".join(f"{label} {count}" for label, count in sorted(total.labels.items()))
    if total.rows != answered + len(total.refused):
        raise InputError(f"{total.rows} rows were read, {answered} answered: please report this")
    refused = f"refused {len(total.refused)}"
    return f"rows {total.rows} = answered {answered} ({labels or 'none'}) + {refused}"


def on_one_machine(chosen: argparse.Namespace, files: list[str], out: Sink) -> Total:
    """Score in this process."""
    stopping, received = threading.Event(), list[int]()

    def stop(number: int, _frame: object) -> None:
        received.append(number)
        if stopping.is_set():  # asked twice
            sys.exit(128 + number)
        stopping.set()
        print("stopping after this block; once more stops at once", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as copies:
        classifier = locked(chosen.model, Path(copies), chosen.threads, chosen.engine)
        asked = settings(chosen, classifier.manifest.version)
        pins = begin(files, asked, out)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        total = score(pins, classifier, asked, out, stopping)
    if total is None:
        print("stopped; the same call goes on", file=sys.stderr)
        sys.exit(128 + received[0])
    return total


def on_beam(chosen: argparse.Namespace, files: list[str], out: Sink) -> Total:
    """Score by a runner's workers."""
    try:
        from score import beam  # an environment of its own has it
    except ModuleNotFoundError as error:
        raise InputError(
            f"there is no {error.name} here: python -m pip install --constraint "
            "score/constraints.txt '.[beam]', in an environment of its own"
        ) from error
    runner, *flags = chosen.runner
    if runner == "DataflowRunner":
        for name in (*files, chosen.output):
            if not name.startswith(GCS):
                raise InputError(f"{name}: Dataflow reads and writes {GCS} alone; copy it there")
    pipeline = beam.pipeline(runner, flags)
    with tempfile.TemporaryDirectory() as copies:
        asked = settings(chosen, version(chosen.model, Path(copies)))
    pins = begin(files, asked, out)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Beam's own way to end waits for workers that have not begun, without end.
        signal.signal(number, lambda received, _: os._exit(128 + received))
    return beam.score(pipeline, pins, asked, chosen.model, chosen.output)


def main() -> None:
    """Score the inputs."""
    parser = arguments()
    chosen = parser.parse_args()
    if chosen.runner == []:
        parser.error("--runner: name one")
    out = sink(chosen.output)
    files = inputs(chosen, out)
    with of_several(files, "--files"):
        total = (on_one_machine if chosen.runner is None else on_beam)(chosen, files, out)
    print(summary(total))
    if total.refused:
        first = total.refused[0]
        print(f"refused: {first['file']}: row {first['row']}: {first['reason']}", file=sys.stderr)
        print(f"all of them: {chosen.output.rstrip('/')}/refused.jsonl", file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    run(main)
