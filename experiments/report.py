"""What a run is and how it differs from another commit: a page for people, a comment for a review.

    python -m experiments.report [BASE] [--comment FILE]

All but the learning curves is in git: params, figures, the data of the plots, dvc.lock. So a report
can be made where the data is not.
"""

import argparse
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import vl_convert
from dvc.render.match import match_defs_renderers
from dvc.repo import Repo
from markdown_it import MarkdownIt

from common.atomic import new_file
from common.errors import InputError, run
from common.git import changed_files, git
from common.page import render
from experiments.compare import Difference, difference
from experiments.repository import Run, flat, lacking, named, stale_stages
from stages import params
from stages.shared.outputs import EVALUATION, HISTORY, MACHINE, REPORT

PAGE = Path("models/report.html")
POINTS = 25  # of a curve in a comment
LINES = {  # the curves of a comment: file, x, y, rows to average over
    "ROC": (EVALUATION / "plots/roc.csv", "false_positive_rate", "true_positive_rate", 1),
    "Training loss": (HISTORY / "plots/metrics/train/loss.tsv", "step", "loss", 10),
}

Table = list[list[str]]


def paired(this: Run, base: Run) -> Difference | None:
    """Compare the accuracies of two runs, if they judged the same tweets."""
    mine, other = (side.table(EVALUATION / "predictions.csv") for side in (this, base))
    if mine.empty or other.empty or not mine[["id", "target"]].equals(other[["id", "target"]]):
        return None
    said = [
        side["probability"].to_numpy() >= of.json(REPORT)["threshold"]
        for side, of in ((mine, this), (other, base))
    ]
    return difference(mine["target"].to_numpy(dtype=bool), *said)


def figures(this: Run, base: Run | None) -> Table:
    """Return a row for each test figure: name, value, interval, TF-IDF, old, change."""
    report = this.json(REPORT)
    before = base.json(REPORT).get("test", {}) if base else {}
    rows = []
    for name, value in report["test"].items():
        low, high = report["interval_95"][name]
        row = [name.replace("_", " "), f"{value:.4f}", f"{low:.4f} to {high:.4f}"]
        row.append(f"{report['baseline'][name]:.4f}")
        if base:
            old = before.get(name)
            row += ["", ""] if old is None else [f"{old:.4f}", f"{value - old:+.4f}"]
        rows.append(row)
    return rows


def changed_params(this: Run, base: Run) -> Table:
    """Return the params that differ: key, value, value before."""
    mine, other = (dict(flat(side.yaml("params.yaml"))) for side in (this, base))
    keys = sorted(key for key in mine.keys() | other.keys() if mine.get(key) != other.get(key))
    return [[key, str(mine.get(key, "")), str(other.get(key, ""))] for key in keys]


def plots(base: str | None) -> Iterator[tuple[str, str]]:
    """Draw every plot of dvc.yaml whose data is here, beside that of `base`: title and SVG."""
    nothing_to_fetch = {"core": {"remote": "none"}, "remote": {"none": {"url": os.devnull}}}
    with Repo(config=nothing_to_fetch) as repo:
        found = repo.plots.diff(revs=[base]) if base else repo.plots.show()
        for renderer, *_ in match_defs_renderers(found, templates_dir=repo.plots.templates_dir):
            if renderer.datapoints:
                drawn = vl_convert.vegalite_to_svg(renderer.get_filled_template())
                yield renderer.name, drawn


def outputs(this: Run) -> Table:
    """Return the outputs of dvc.lock: path, hash, size."""
    stages = this.yaml("dvc.lock").get("stages", {})
    return [
        [out["path"], out["md5"], f"{out['size'] / 1e6:.2f} MB"]
        for stage in stages.values()
        for out in stage.get("outs", [])
    ]


def page(base: str | None) -> str:
    """Return the report of the workspace as one HTML page that needs nothing else."""
    this, other = Run(None), Run(base) if base else None
    card = this.text(EVALUATION / "model_card.md") or ""
    return render(
        Path(__file__).with_name("report.html.jinja"),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        commit=git("log", "-1", "--format=%h %s").strip(),
        changed=named(changed_files()),
        stale=stale_stages(missing=False),
        base=base and git("log", "-1", "--format=%h %s", base).strip(),
        report=this.json(REPORT),
        figures=figures(this, other),
        paired=paired(this, other) if other else None,
        params=list(flat(this.yaml("params.yaml"))),
        changed_params=changed_params(this, other) if other else [],
        plots=list(plots(base)),
        slices=this.table(EVALUATION / "slices.csv"),
        robustness=this.table(EVALUATION / "robustness.csv"),
        mistakes=this.table(EVALUATION / "mistakes.csv"),
        data=list(flat(this.json(REPORT)["data"])),
        outputs=outputs(this),
        machine=this.json(MACHINE),
        card=MarkdownIt("commonmark", {"html": False})
        .enable("table")
        .render(card.partition("\n")[2]),
    )


def comment(base: str) -> str:
    """Return what a reviewer wants to know first, as Markdown of GitHub."""
    this, other = Run(None), Run(base)
    report = this.json(REPORT)
    lines = []
    if stale := stale_stages(missing=False):
        lines += ["> [!WARNING]", "> **dvc.lock is stale**: these figures are of an earlier state."]
        lines += ["> Run `dvc repro` and commit dvc.lock with what it made.", ">"]
        lines += [f"> - `{line}`" for line in stale] + [""]
    verdict = "passes" if report["passed"] else "**does not pass**"
    lines += [f"The model {verdict} the minimums of params.yaml, on {report['rows']} test tweets."]
    if found := paired(this, other):
        lines += [f"Accuracy, tweet by tweet, against {base}: {found}."]
    elif other.json(REPORT):
        lines += [f"{base} has no answers to these test tweets: the changes are no like-for-like."]
    lines += [
        "",
        "| | this | 95 % interval | TF-IDF | before | change |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in figures(this, other)]
    if changed := changed_params(this, other):
        lines += ["", "| param | this | before |", "|---|---|---|"]
        lines += [f"| `{key}` | {new} | {old} |" for key, new, old in changed]
    for title, (file, x, y, window) in LINES.items():
        tables = [side.table(file) for side in (this, other)]
        curves = [
            table.groupby(x)[y].max().rolling(window, min_periods=1).mean()
            for table in tables
            if not table.empty
        ]
        lines += ["", *_chart(title, curves)]
    return "\n".join(lines) + "\n"


def _chart(title: str, curves: list[pd.Series]) -> Iterator[str]:
    """Draw curves as a Mermaid chart, which GitHub shows without a file anywhere."""
    if not curves:
        return
    end = max(curve.index.max() for curve in curves)
    yield f"**{title}**{' (blue: this; the other: before)' if len(curves) > 1 else ''}"
    yield "```mermaid"
    yield "xychart-beta"
    yield f'    x-axis "{curves[0].index.name}" 0 --> {end:g}'
    yield f'    y-axis "{curves[0].name}"'
    for curve in curves:
        values = np.interp(np.linspace(0, end, POINTS), curve.index, curve)
        yield f"    line [{', '.join(f'{value:.4f}' for value in values)}]"
    yield "```"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("base", nargs="?", help="the commit to compare with, such as main")
    parser.add_argument("--comment", type=Path, help="write a short Markdown there too")
    chosen = parser.parse_args()
    params.load()
    if not REPORT.exists():
        raise InputError(f"{REPORT} is missing: run `dvc repro` first")
    if chosen.base:
        try:
            git("log", "-1", "--end-of-options", chosen.base, "--")
        except InputError as error:
            raise InputError("; ".join(filter(None, [str(error), lacking()]))) from error
    if chosen.comment:
        if not chosen.base:
            raise InputError("--comment: say which commit to compare with")
        with new_file(chosen.comment) as draft:
            draft.write_text(comment(chosen.base), encoding="utf-8")
        print(chosen.comment)
    with new_file(PAGE) as draft:
        draft.write_text(page(chosen.base), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    run(main)
