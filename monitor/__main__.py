"""Report whether a deployed model's accuracy has dropped, from the log of its predictions.

    python -m monitor LOGS [--reviewed FILE ...] [--since DATE] [--until DATE] [--model FOLDER]
    python -m monitor review LOGS --n 100 --output sample.csv

LOGS and FILEs are paths or fsspec URLs (gs://...).

exit status: 0 the verdict is ok or unknown; 3 look; 4 act; without a report: 1 an error; 2 invalid
arguments
"""

import argparse
import sys
from datetime import date
from pathlib import Path

from common.errors import run
from monitor import report, review
from monitor.labels import read_reviewed
from monitor.log import read
from monitor.verdict import STATUS


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of the command line; the default command is `report`."""
    parser = argparse.ArgumentParser(prog="python -m monitor", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    reporting = commands.add_parser("report", help="report accuracy and drift (the default)")
    reporting.add_argument("--reviewed", nargs="+", default=[], help="labelled samples")
    splits = "folder of the stage prepare (default: data/prepared)"
    reporting.add_argument("--prepared", type=Path, default=Path("data/prepared"), help=splits)
    sampling = commands.add_parser("review", help="draw a sample, and write a page to label it")
    sampling.add_argument("--n", type=_positive, default=100, help="tweets to draw")
    for command, output in ((reporting, "monitor-report"), (sampling, "sample.csv")):
        add = command.add_argument
        add("logs", nargs="+", help="files or folders of prediction logs")
        since = "first day in UTC, such as 2026-11-20 (default: six days before --until)"
        add("--since", type=_day, help=since)
        add("--until", type=_day, help="last day (default: the log's last)")
        model = "folder of the locked model that made the predictions"
        add("--model", type=Path, default=Path("models/classifier"), help=model)
        add("--output", type=Path, default=Path(output), help=f"default: {output}")
    if not arguments or arguments[0] not in ("report", "review", "-h", "--help"):
        arguments = ["report", *arguments]
    return parser.parse_args(arguments)


def write_report(options: argparse.Namespace) -> int:
    """Write report.json and report.html; return the exit status."""
    model = report.load(options.model)
    log, lines = read(options.logs, model.version, options.since, options.until)
    reviewed = read_reviewed(options.reviewed, log, model.fitted_sha256)
    content = report.build(model, log, lines, reviewed, options.prepared)
    report.write(content, options.output)
    print("{word}: {reason} {advice}".format(**content["verdict"]))
    if reviewed.unknown:
        print(f"{reviewed.unknown} of {reviewed.total} labels match no answer in this period")
    print(options.output / "report.html")
    return STATUS[content["verdict"]["word"]]


def write_sample(options: argparse.Namespace) -> int:
    """Write a sample for labelling; return the exit status."""
    version = report.load(options.model).version
    log, _ = read(options.logs, version, options.since, options.until)
    number = review.draw(log, options.n, options.output)
    print(f"{options.output}: {number} tweets; fill in `label` (1 reports a disaster, 0 does not)")
    print(f"{review.get_page_path(options.output)}: or label them on this page, one key per tweet")
    return 0


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2026-11-20") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def call(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    options = parse(arguments)
    return write_report(options) if options.command == "report" else write_sample(options)


def main() -> None:
    """Run the command and exit with its status."""
    sys.exit(call(sys.argv[1:]))


if __name__ == "__main__":
    run(main)
