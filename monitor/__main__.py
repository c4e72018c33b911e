"""Report on a deployed model's traffic and whether its accuracy has dropped.

    python -m monitor LOGS [--feedback FILE ...] [--reviewed FILE ...] [--since DATE] [--until DATE]
    python -m monitor review LOGS --n 100 --output sample.csv
    python -m monitor harvest LOGS --reviewed FILE ... [--feedback FILE ...] --output harvest.csv

LOGS and FILEs are paths or fsspec URLs (gs://...); LOGS may also be what `python -m score` wrote.
The exit status is 0 if the verdict is ok or tweets are too few for one, 3 if somebody should look,
4 if somebody should act, and 1 or 2, without a report, if an input or the command line is wrong.
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

OUTPUTS = {"report": "monitor-report", "review": "sample.csv", "harvest": "harvest.csv"}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; the default command is `report`."""
    parser = argparse.ArgumentParser(prog="python -m monitor", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="command", required=True)
    until = "last day (default: the last 7 days of the log; harvest: all days)"
    for name, output in OUTPUTS.items():
        command = commands.add_parser(name)
        add = command.add_argument
        add("logs", nargs="+", help="files or folders of prediction logs")
        add("--since", type=_day, help="first day, in UTC (2026-11-20)")
        add("--until", type=_day, help=until)
        models = {"nargs": "+", "type": Path, "default": [Path("models/classifier")]}
        add("--model", **models, help="folders of locked models whose answers are judged")  # type: ignore[arg-type] # as typeshed has it
        add("--output", type=Path, default=Path(output))
        if name == "review":
            add("--n", type=_positive, default=100, help="tweets to draw")
            near = "draw doubtful answers more often; `drawn` holds each probability"
            add("--near-threshold", action="store_true", help=near)
        else:
            add("--feedback", nargs="+", default=[], help="files or folders of readers' verdicts")
            add("--reviewed", nargs="+", default=[], help="samples with labels")
            add("--prepared", type=Path, default=Path("data/prepared"))
    if not arguments or arguments[0] not in (*OUTPUTS, "-h", "--help"):
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


def main() -> None:
    """Run the command."""
    chosen = parse(sys.argv[1:])
    commands = {"report": write_report, "review": write_sample, "harvest": write_harvest}
    sys.exit(commands[chosen.command](chosen))


if __name__ == "__main__":
    run(main)
