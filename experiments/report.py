"""Write models/report.html, a report of this run and its difference from another commit.

    python -m experiments.report [BASE] [--comment FILE]

Params, metrics, the data of the plots and dvc.lock are in git, so a report needs no access to the
data; only the learning curves are missing without it.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import vl_convert
from dvc.compare import TabularData, diff_table, metrics_table
from dvc.render.match import match_defs_renderers
from dvc.repo import Repo
from markdown_it import MarkdownIt

from common.atomic import new_file
from common.errors import InputError, run
from common.git import changed_files, git, unshallow
from common.page import render
from experiments.compare import Difference, difference
from experiments.repository import Run, check_readable, command_line, flatten, shorten, stale_stages
from stages import params
from stages.shared.outputs import EVALUATION, MACHINE, REPORT

PAGE = Path("models/report.html")
# A commit without outputs in the cache is shown as far as git has it: nothing is fetched.
NO_REMOTE = {"core": {"remote": "none"}, "remote": {"none": {"url": os.devnull}}}


def paired(base: str) -> Difference | None:
    """Compare the accuracy of this run and of `base`, if both answered the same test tweets."""
    runs = [Run(None), Run(base)]
    tables = [side.table(EVALUATION / "predictions.csv") for side in runs]
    columns = ["id", "target"]
    if any(table.empty for table in tables) or not tables[0][columns].equals(tables[1][columns]):
        return None
    answers = [
        table["probability"].to_numpy() >= side.json(REPORT)["threshold"]
        for table, side in zip(tables, runs, strict=True)
    ]
    return difference(tables[0]["target"].to_numpy(dtype=bool), *answers)


def table(header: list[str], rows: Any) -> list[str]:  # noqa: ANN401 - rows of anything
    """Return a Markdown table's lines."""
    cells = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return ["", *(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *cells)), ""]


def summary(base: str | None) -> list[str]:
    """Return the verdict and DVC's tables of metrics and changed params, as Markdown lines."""
    report = Run(None).json(REPORT)
    lines = []
    if stale := stale_stages(missing=False):
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
        if gain := paired(base):
            lines += [f"Accuracy, tweet by tweet, against {base}: {gain}."]
        else:
            lines += [f"{base} has no answers to these test tweets: compare no metric with it."]
        for title, diff in (("Metric", repo.metrics.diff), ("Param", repo.params.diff)):
            changes = diff(a_rev=base, b_rev="workspace", all=title == "Metric").get("diff", {})
            if changes:
                lines += _markdown(
                    diff_table(changes, title, a_rev=base, b_rev="this run", precision=4)
                )
    return lines


def _markdown(data: TabularData) -> list[str]:
    data.drop("Path")
    return table(data.keys(), data)


def plots(base: str | None) -> Iterator[tuple[str, str]]:
    """Yield title and SVG of every plot of dvc.yaml whose data exists, beside that of `base`."""
    with Repo(config=NO_REMOTE) as repo:
        data = repo.plots.diff(revs=[base]) if base else repo.plots.show()
        for renderer, *_ in match_defs_renderers(data, templates_dir=repo.plots.templates_dir):
            if renderer.datapoints:
                yield renderer.name, vl_convert.vegalite_to_svg(renderer.get_filled_template())


def page(base: str | None) -> str:
    """Return the report of the workspace as one HTML page without external parts."""
    this = Run(None)
    stages = this.yaml("dvc.lock").get("stages", {}).values()
    outputs = [out for stage in stages for out in stage.get("outs", [])]
    card = (this.text(EVALUATION / "model_card.md") or "").partition("\n")[2]
    mistakes = this.table(EVALUATION / "mistakes.csv").fillna("")
    details = [
        *("## Worst mistakes", *table(list(mistakes.columns), mistakes.values.tolist())),
        *("## Data", *table(["", ""], flatten(this.json(REPORT)["data"]))),
        *("## Params", *table(["Param", "Value"], flatten(this.yaml("params.yaml")))),
        *("## Model card", card, "## Provenance"),
        *table(
            ["Output", "DVC hash (MD5)", "Bytes"],
            [[out["path"], out["md5"], out["size"]] for out in outputs],
        ),
        *table(["Last training here", ""], this.json(MACHINE).items()),
    ]
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    return render(
        Path(__file__).with_name("report.html.jinja"),
        commit=git("log", "-1", "--format=%h %s").strip(),
        base=base and git("log", "-1", "--format=%h %s", base).strip(),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        summary=markdown.render("\n".join(summary(base)).replace("[!WARNING]", "")),
        plots=list(plots(base)),
        details=markdown.render("\n".join(details)),
    )


def main() -> None:
    """Read the command line, write the page and the comment."""
    parser = command_line("report", __doc__)
    parser.add_argument("base", nargs="?", help="the commit to compare with, such as main")
    parser.add_argument("--comment", type=Path, help="also write a summary to this Markdown file")
    chosen = parser.parse_args()
    if chosen.comment and not chosen.base:
        parser.error("--comment: name the commit to compare with")
    check_readable()
    params.load()
    if not REPORT.exists():
        raise InputError(f"{REPORT} is missing: run `dvc repro` first")
    if chosen.base:
        try:
            git("log", "-1", "--end-of-options", chosen.base, "--")
        except InputError as error:
            raise InputError("; ".join(filter(None, [str(error), unshallow()]))) from error
    if chosen.comment:
        with new_file(chosen.comment) as draft:
            draft.write_text("\n".join(summary(chosen.base)) + "\n", encoding="utf-8")
        print(chosen.comment)
    with new_file(PAGE) as draft:
        draft.write_text(page(chosen.base), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    run(main)
