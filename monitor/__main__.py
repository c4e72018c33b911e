"""Report whether a deployed model's accuracy has dropped, from the log of its predictions.

    python -m monitor LOGS [--feedback FILE ...] [--reviewed FILE ...] [--since DATE] [--until DATE]
    python -m monitor review LOGS --n 100 --output sample.csv
    python -m monitor harvest LOGS --reviewed FILE ... [--feedback FILE ...] --output harvest.csv

LOGS and FILEs are paths or fsspec URLs (gs://...). LOGS may also be outputs of `python -m score`.

exit status: 0 the verdict is ok or unknown; 3 look; 4 act; without a report: 1 an error; 2 invalid
arguments
"""

import argparse
import json
import sys
from datetime import date
from pathlib import Path

from common.atomic import new_file
from common.errors import InputError, run
from monitor import harvest, report, review
from monitor.labels import read_feedback, read_reviewed
from monitor.log import Log, read
from monitor.page import make_page
from monitor.records import Lines
from monitor.verdict import STATUS

COMMANDS = {  # the default output, and the help
    "report": ("monitor-report", "report traffic, accuracy and drift (the default)"),
    "review": ("sample.csv", "draw a sample of tweets, and write a page to label them"),
    "harvest": ("harvest.csv", "write labelled tweets as data for the next training"),
}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of the command line; the default command is `report`."""
    parser = argparse.ArgumentParser(prog="python -m monitor", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    since = (
        "first day in UTC, such as 2026-11-20 (default: six days before --until; harvest: all days)"
    )
    for name, (output, text) in COMMANDS.items():
        add = commands.add_parser(name, help=text).add_argument
        add("logs", nargs="+", help="files or folders of prediction logs")
        add("--since", type=_day, help=since)
        add("--until", type=_day, help="last day (default: the log's last)")
        models = "folders of the locked models that made the predictions"
        add("--model", nargs="+", type=Path, default=[Path("models/classifier")], help=models)
        add("--output", type=Path, default=Path(output), help=f"default: {output}")
        if name == "review":
            add("--n", type=_positive, default=100, help="tweets to draw")
            near_help = "draw uncertain tweets more often; the column `drawn` has the probabilities"
            add("--near-threshold", action="store_true", help=near_help)
        else:
            add("--feedback", nargs="+", default=[], help="files or folders with feedback")
            add("--reviewed", nargs="+", default=[], help="labelled samples")
            splits = "folder of the stage prepare (default: data/prepared)"
            add("--prepared", type=Path, default=Path("data/prepared"), help=splits)
    if not arguments or arguments[0] not in (*COMMANDS, "-h", "--help"):
        arguments = ["report", *arguments]
    return parser.parse_args(arguments)


def write_report(options: argparse.Namespace) -> int:
    """Write report.json and report.html; return the exit status."""
    models = [report.load(folder) for folder in options.model]
    logs, lines = read(options.logs, options.since, options.until)
    feedback_lines, reviewed = Lines(), read_reviewed(options.reviewed, logs)
    feedback = read_feedback(options.feedback, feedback_lines)
    content = report.build(
        logs, lines, models, feedback, feedback_lines, reviewed, options.prepared
    )
    top = report.get_top(content)
    options.output.mkdir(parents=True, exist_ok=True)
    with new_file(options.output / "report.json") as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with new_file(options.output / "report.html") as draft:
        draft.write_text(make_page(content, top), encoding="utf-8")
    print("{word}: {reason} {advice}".format(**top["verdict"]))
    for name in ("labels", "feedback"):
        if unknown := top[name]["unknown"]:
            print(
                f"{name}: {unknown} of {top[name]['total']} match no logged answer in this period"
            )
    print(options.output / "report.html")
    return STATUS[top["verdict"]["word"]]


def write_sample(options: argparse.Namespace) -> int:
    """Write a sample for labelling; return the exit status."""
    number = review.draw(_log(options), options.n, options.output, options.near_threshold)
    print(f"{options.output}: {number} tweets; fill in `label` (1 reports a disaster, 0 does not)")
    print(f"{review.get_page_path(options.output)}: or label them on this page, one key per tweet")
    return 0


def write_harvest(options: argparse.Namespace) -> int:
    """Write labelled tweets as a source for the next training; return the exit status."""
    if not options.reviewed + options.feedback:
        raise InputError("no labels: name files with --reviewed or --feedback")
    options.since = options.since or date.min  # labels of all days
    log = _log(options)
    feedback = read_feedback(options.feedback, Lines())
    reviewed = read_reviewed(options.reviewed, {log.model: log})
    counts = harvest.harvest(log, feedback, reviewed, options.prepared, options.output)
    print(f"{options.output}:", *(f"{name}={value}" for name, value in counts.items()))
    if counts["to_review"]:
        print(f"{harvest.get_review_path(options.output)}: tweets with feedback; label them first")
    return 0


def _log(options: argparse.Namespace) -> Log:
    """Return the log of the first model of --model."""
    version = report.load(options.model[0]).version
    logs, _ = read(options.logs, options.since, options.until)
    if version not in logs:
        raise InputError(f"the log is of model {', '.join(logs)}, not of {version}")
    return logs[version]


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
    commands = {"report": write_report, "review": write_sample, "harvest": write_harvest}
    return commands[options.command](options)


def main() -> None:
    """Run the command and exit with its status."""
    sys.exit(call(sys.argv[1:]))


if __name__ == "__main__":
    run(main)
