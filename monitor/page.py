"""The report as one page that needs nothing else."""

from pathlib import Path

from common.page import render
from monitor import charts, drift, quality
from monitor.report import Report, top
from monitor.verdict import MARGIN


def page(report: Report) -> str:
    """Return the page of what `monitor.report.build` found."""
    return render(
        Path(__file__).with_name("report.html.jinja"),
        report=report,
        top=top(report),
        charts=charts,
        blind=quality.BLIND,
        negligible=drift.NEGLIGIBLE,
        drifted=drift.DRIFTED,
        margin=MARGIN,
    )
