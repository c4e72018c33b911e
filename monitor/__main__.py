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
from monitor.page import page
from monitor.records import Lines
from monitor.verdict import STATUS

COMMANDS = {  # the default output, and the help
    "report": ("monitor-report", "report traffic, accuracy and drift (the default)"),
    "review": ("sample.csv", "draw a sample of tweets, and write a page to label them"),
    "harvest": ("harvest.csv", "write labelled tweets as data for the next training"),
}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; the default command is `report`."""
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
        models = "folders of locked models whose answers are judged"
        add("--model", nargs="+", type=Path, default=[Path("models/classifier")], help=models)
        add("--output", type=Path, default=Path(output), help=f"default: {output}")
        if name == "review":
            add("--n", type=_positive, default=100, help="tweets to draw")
            near = "draw doubtful answers more often; the column `drawn` has the probabilities"
            add("--near-threshold", action="store_true", help=near)
        else:
            add("--feedback", nargs="+", default=[], help="files or folders of /feedback")
            add("--reviewed", nargs="+", default=[], help="labelled samples")
            splits = "folder of the stage prepare (default: data/prepared)"
            add("--prepared", type=Path, default=Path("data/prepared"), help=splits)
    if not arguments or arguments[0] not in (*COMMANDS, "-h", "--help"):
        arguments = ["report", *arguments]
    return parser.parse_args(arguments)


def write_report(chosen: argparse.Namespace) -> int:
    """Write report.json and report.html; return the exit status."""
    models = [report.load(folder) for folder in chosen.model]
    logs, lines = read(chosen.logs, chosen.since, chosen.until)
    verdict_lines, reviewed = Lines(), read_reviewed(chosen.reviewed, logs)
    verdicts = read_feedback(chosen.feedback, verdict_lines)
    content = report.build(logs, lines, models, verdicts, verdict_lines, reviewed, chosen.prepared)
    top = report.top(content)
    chosen.output.mkdir(parents=True, exist_ok=True)
    with new_file(chosen.output / "report.json") as draft:
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    with new_file(chosen.output / "report.html") as draft:
        draft.write_text(page(content, top), encoding="utf-8")
    print("{word}: {reason} {advice}".format(**top["verdict"]))
    for name in ("labels", "volunteered"):
        if unknown := top[name]["unknown"]:
            print(
                f"{name}: {unknown} of {top[name]['total']} match no logged answer in this period"
            )
    print(chosen.output / "report.html")
    return STATUS[top["verdict"]["word"]]


def write_sample(chosen: argparse.Namespace) -> int:
    """Write a sample for labelling."""
    number = review.draw(_log(chosen), chosen.n, chosen.output, chosen.near_threshold)
    print(f"{chosen.output}: {number} tweets; fill in `label` (1 reports a disaster, 0 does not)")
    print(f"{review.page_of(chosen.output)}: or label them in this page, one key per tweet")
    return 0


def write_harvest(chosen: argparse.Namespace) -> int:
    """Write labelled tweets as a source for the next training."""
    if not chosen.reviewed + chosen.feedback:
        raise InputError("name labels with --reviewed or --feedback")
    chosen.since = chosen.since or date.min  # a label may be of any day
    log = _log(chosen)
    verdicts = read_feedback(chosen.feedback, Lines())
    reviewed = read_reviewed(chosen.reviewed, {log.model: log})
    counts = harvest.harvest(log, verdicts, reviewed, chosen.prepared, chosen.output)
    print(f"{chosen.output}:", *(f"{name}={value}" for name, value in counts.items()))
    if counts["to_review"]:
        print(f"{harvest.to_review(chosen.output)}: readers' tweets, to be labelled first")
    return 0


def _log(chosen: argparse.Namespace) -> Log:
    """Return the answers of the first model named."""
    version = report.load(chosen.model[0]).version
    logs, _ = read(chosen.logs, chosen.since, chosen.until)
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
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of tweets")
    return int(text)


def call(arguments: list[str]) -> int:
    """Run the command; return the exit status."""
    chosen = parse(arguments)
    commands = {"report": write_report, "review": write_sample, "harvest": write_harvest}
    return commands[chosen.command](chosen)


def main() -> None:
    """Run the command."""
    sys.exit(call(sys.argv[1:]))


if __name__ == "__main__":
    run(main)
