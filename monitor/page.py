"""The report as one page that needs nothing else."""

from pathlib import Path

from common.page import render
from monitor import charts, drift
from monitor.report import Report, top
from monitor.verdict import MARGIN, doubt, narrowing


def page(report: Report) -> str:
    """Return a report as a page of HTML."""
    return render(
        Path(__file__).with_name("report.html.jinja"),
        report=report,
        top=top(report),
        charts=charts,
        doubt=doubt,
        narrowing=narrowing,
        negligible=drift.NEGLIGIBLE,
        drifted=drift.DRIFTED,
        margin=MARGIN,
    )
