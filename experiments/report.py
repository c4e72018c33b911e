"""Write models/report.html, a report of this run and its difference from another commit.

    python -m experiments.report [BASE] [--comment FILE]

Params, metrics, the data of the plots and dvc.lock are in git, so a report needs no access to the
data; only the learning curves are missing without it.
"""

import io
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import vl_convert
from dvc.compare import TabularData, diff_table, metrics_table
from dvc.render.match import match_defs_renderers
from dvc.repo import Repo
from markdown_it import MarkdownIt

from common.atomic import new_file
from common.errors import InputError, run
from common.git import changed_files, get_shallow_remedy, git
from common.page import render
from experiments.compare import Difference, compare_accuracy
from experiments.repository import (
    check_readable,
    find_stale,
    make_parser,
    read_data,
    read_file,
    shorten,
)
from stages import params
from stages.shared.outputs import EVALUATION, REPORT

PAGE = Path("models/report.html")
# Nothing is fetched: if the cache lacks a commit's outputs, the report has only what git has.
NO_REMOTE = {"core": {"remote": "none"}, "remote": {"none": {"url": os.devnull}}}


def compare_with(base: str) -> Difference | None:
    """Return the gain in accuracy over `base`, or None if it has other test tweets."""
    tables, answers = [], []
    for rev in (None, base):
        text = read_file(rev, EVALUATION / "predictions.csv")
        tables.append(pd.read_csv(io.StringIO(text)) if text else pd.DataFrame())
    columns = ["id", "target"]
    if any(table.empty for table in tables) or not tables[0][columns].equals(tables[1][columns]):
        return None
    for rev, table in zip((None, base), tables, strict=True):
        threshold = read_data(rev, REPORT)["threshold"]
        answers.append(table["probability"].to_numpy() >= threshold)
    return compare_accuracy(tables[0]["target"].to_numpy(dtype=bool), *answers)


def make_summary(base: str | None) -> list[str]:
    """Return the verdict and DVC's tables of metrics and changed params, as Markdown lines."""
    report = read_data(None, REPORT)
    lines = []
    if stale := find_stale(missing=False):
        lines += ["> [!WARNING]", "> **dvc.lock is stale**: these metrics are of an earlier state."]
        lines += ["> Run `dvc repro` and commit dvc.lock with its outputs.", ">"]
        lines += [f"> - `{line}`" for line in stale] + [""]
    if changed := shorten(changed_files()):
        lines += [f"Not committed: {changed}.", ""]
    verdict = "passes" if report["passed"] else "**does not pass**"
    lines += [f"The model {verdict} the minimums of params.yaml, on {report['rows']} test tweets."]
    lines += [report.get("unseen_event", "")]  # an older report has none
    with Repo(config=NO_REMOTE) as repo:
        if base is None:
            return [*lines, *_markdown(metrics_table(repo.metrics.show(), precision=4))]
        if gain := compare_with(base):
            lines += [f"Accuracy, tweet by tweet, against {base}: {gain}."]
        else:
            lines += [f"{base} lacks answers to these test tweets: metrics are not comparable."]
        for title, diff in (("Metric", repo.metrics.diff), ("Param", repo.params.diff)):
            changes = diff(a_rev=base, b_rev="workspace", all=title == "Metric").get("diff", {})
            if changes:
                lines += _markdown(
                    diff_table(changes, title, a_rev=base, b_rev="this run", precision=4)
                )
    return lines


def _markdown(data: TabularData) -> list[str]:
    """Return the lines of a table in Markdown."""
    data.drop("Path")
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in data]
    header = data.keys()
    return ["", *(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *cells)), ""]


def draw_plots(base: str | None) -> Iterator[tuple[str, str]]:
    """Yield title and SVG of each plot of dvc.yaml that has data, with the data of `base`."""
    with Repo(config=NO_REMOTE) as repo:
        data = repo.plots.diff(revs=[base]) if base else repo.plots.show()
        for renderer, *_ in match_defs_renderers(data, templates_dir=repo.plots.templates_dir):
            if renderer.datapoints:
                yield renderer.name, vl_convert.vegalite_to_svg(renderer.get_filled_template())


def make_page(base: str | None) -> str:
    """Return the report of the workspace as one HTML page without external parts."""
    card = read_file(None, EVALUATION / "model_card.md").partition("\n")[2]
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    return render(
        Path(__file__).with_name("report.html.jinja"),
        commit=git("log", "-1", "--format=%h %s").strip(),
        base=base and git("log", "-1", "--format=%h %s", base).strip(),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        summary=markdown.render("\n".join(make_summary(base)).replace("[!WARNING]", "")),
        plots=list(draw_plots(base)),
        card=markdown.render(card),
    )


def main() -> None:
    """Write the page and, with --comment, the summary."""
    parser = make_parser("report", __doc__)
    parser.add_argument("base", nargs="?", help="the commit to compare with, such as main")
    parser.add_argument("--comment", type=Path, help="also write a summary to this Markdown file")
    options = parser.parse_args()
    if options.comment and not options.base:
        parser.error("--comment: name the commit to compare with")
    check_readable()
    params.load()
    if not REPORT.exists():
        raise InputError(f"{REPORT} is missing: run `dvc repro` first")
    if options.base:
        try:
            git("log", "-1", "--end-of-options", options.base, "--")
        except InputError as error:
            raise InputError("; ".join(filter(None, [str(error), get_shallow_remedy()]))) from error
    if options.comment:
        with new_file(options.comment) as draft:
            draft.write_text("\n".join(make_summary(options.base)) + "\n", encoding="utf-8")
        print(options.comment)
    with new_file(PAGE) as draft:
        draft.write_text(make_page(options.base), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    run(main)
