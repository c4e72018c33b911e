"""Classify every tweet of a table: add label and probability to each row.

    python -m score tweets.parquet out/
    python -m score 'archive/*.csv.gz' gs://bucket/answers --text tweet --keep id
    python -m score gs://bucket/archive gs://bucket/answers --runner DataflowRunner ...

Inputs are CSV, TSV, JSON or Parquet, compressed or not: paths, folders, globs or URLs
(gs://, s3://, az:// or any other that fsspec knows). OUTPUT/answers/ has the answers,
OUTPUT/refused.jsonl the rows without an answer. If the run is stopped or killed, repeat the command
to resume.

exit status: 0 every row has an answer; 1 an error; 2 invalid arguments; 3 some rows are refused
"""

import argparse
import os
import signal
import sys

from common.errors import InputError, run
from common.storage import Folder
from locked.engines import ENGINES, fastest
from reader.format import Format
from score.blocks import Settings
from score.model import load, open_store
from score.run import REFUSED, Total, begin, score, summarise
from score.sources import find_sources


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m score", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="a path, folder, glob or URL")
    parser.add_argument("output", metavar="OUTPUT", help="a folder or URL")
    parser.add_argument(
        "--model", default="models/classifier", help="a folder or URL (default: models/classifier)"
    )
    parser.add_argument("--text", default="text", help="the column of tweets (default: text)")
    parser.add_argument(
        "--keep", nargs="*", metavar="COLUMN", help="input columns to copy (default: all)"
    )
    parser.add_argument("--encoding", help="encoding of text files (default: detected)")
    parser.add_argument("--separator", help="separator of text files (default: detected)")
    parser.add_argument(
        "--quotes",
        choices=("double", "backslash", "none"),
        help="quoting of text files (default: detected)",
    )
    parser.add_argument("--engine", choices=[*ENGINES], help="default: the faster one on this CPU")
    threads = "number of threads (default: one per core; on Beam always one per process)"
    parser.add_argument("--threads", type=int, default=0, help=threads)
    runner = "an Apache Beam runner, such as DataflowRunner, and its options; the last option"
    parser.add_argument("--runner", nargs=argparse.REMAINDER, metavar="NAME", help=runner)
    return parser


def make_settings(options: argparse.Namespace, version: str) -> Settings:
    """Return the settings that determine the answers."""
    names = ("text", "encoding", "separator", "quotes")
    form = Format(**{name: getattr(options, name) for name in names})
    keep = None if options.keep is None else tuple(options.keep)
    return Settings(version, options.engine or fastest(), keep, form)


def score_here(options: argparse.Namespace, files: list[str], output: Folder) -> Total:
    """Score in this process."""
    classifier = load(options.model, options.threads, options.engine)
    settings = make_settings(options, classifier.manifest.version)
    fingerprints = begin(files, settings, output)
    score(fingerprints, classifier, settings, output)
    return summarise(fingerprints, output)


def score_on_beam(options: argparse.Namespace, files: list[str], output: Folder) -> Total:
    """Score on the workers of a Beam runner."""
    try:
        from score import beam  # installed in a separate environment
    except ModuleNotFoundError as error:
        raise InputError(
            f"the package {error.name} is missing. Install it in a separate environment: python -m "
            "pip install --constraint score/constraints.txt '.[beam]'"
        ) from error
    runner, *flags = options.runner
    for name in [*files, output.url]:
        if runner == "DataflowRunner" and "://" not in name:
            raise InputError(f"{name}: Dataflow's workers cannot reach it. Copy it to a bucket")
    pipeline = beam.make_pipeline(runner, flags)
    with open_store(options.model) as store:
        settings = make_settings(options, store.manifest().version)
    fingerprints = begin(files, settings, output)
    for number in (signal.SIGINT, signal.SIGTERM):
        # Beam's own shutdown waits without limit for workers that have not started.
        signal.signal(number, lambda received, _: os._exit(128 + received))
    beam.score(pipeline, fingerprints, beam.BlockHandler(settings, options.model, output))
    return summarise(fingerprints, output)


def main() -> None:
    """Score the inputs."""
    parser = make_parser()
    options = parser.parse_args()
    if options.runner == []:
        parser.error("--runner needs a name, such as DataflowRunner")
    output = Folder(options.output)
    files = find_sources(options.inputs, output)
    total = (score_here if options.runner is None else score_on_beam)(options, files, output)
    labels = ", ".join(f"{label} {count}" for label, count in sorted(total.labels.items()))
    answered = f"{total.labels.total()} ({labels or 'none'})"
    print(f"rows {total.rows} = answered {answered} + refused {len(total.refused)}")
    if total.refused:
        first = total.refused[0]
        print(f"refused: {first['file']}: row {first['row']}: {first['reason']}", file=sys.stderr)
        print(f"all refused rows: {output.url}/{REFUSED}", file=sys.stderr)
        sys.exit(3)


if __name__ == "__main__":
    run(main)
