"""The report as one page that needs nothing else."""

from pathlib import Path

import jinja2

from monitor import charts, drift, quality
from monitor.report import Report, top
from monitor.verdict import MARGIN


def page(report: Report) -> str:
    """Return the page of what `monitor.report.build` found."""
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report.html.jinja").render(
        report=report,
        top=top(report),
        charts=charts,
        blind=quality.BLIND,
        negligible=drift.NEGLIGIBLE,
        drifted=drift.DRIFTED,
        margin=MARGIN,
    )
