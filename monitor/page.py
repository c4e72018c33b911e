"""Renders the report as one HTML page without external files; its charts are SVG."""

import sys
from pathlib import Path
from typing import Any

import vl_convert

from common.page import render
from monitor import drift, verdict
from monitor.quality import Figure

Chart = dict[str, Any]
Row = dict[str, Any]

LABELS = ["var(--disaster)", "var(--other)"]
CONFIG: Chart = {
    "background": None,
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "currentColor",
        "titleColor": "currentColor",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "legend": {"labelColor": "currentColor", "labelFontSize": 12, "title": None, "orient": "top"},
}


def make_page(report: dict[str, Any], top: dict[str, Any]) -> str:
    """Return the HTML page of a report; `top` is its part on the model in use."""
    return render(
        Path(__file__).with_name("report.html.jinja"),
        report=report,
        top=top,
        charts=sys.modules[__name__],
        explain_width=verdict.explain_width,
        explain_gain=lambda figure, labels: verdict.explain_gain(Figure(**figure), labels),
        negligible=drift.NEGLIGIBLE,
        similar=drift.SIMILAR,
        margin=verdict.MARGIN,
    )


def draw_traffic(rows: list[Row]) -> str:
    """Return a chart of the tweets of each hour or day: time, series (label), tweets."""
    axis = {"format": "%d %b %Hh", "tickCount": 4}
    encoding = {
        "x": _field("time", "temporal", scale={"type": "utc"}, axis=axis),
        "y": _field("tweets", title="tweets"),
        "color": _colours(["disaster", "not_disaster"], LABELS),
    }
    return _svg(rows, {"mark": "bar", "encoding": encoding})


def draw_probabilities(rows: list[Row]) -> str:
    """Return a chart of how often each probability occurs: probability, series, share."""
    encoding = {
        "x": _field("probability", title="P(disaster)"),
        "y": _field("share", axis={"format": "%"}),
        "color": _colours(["live", "held out"], ["var(--accent)", "var(--muted)"]),
    }
    mark = {"type": "line", "interpolate": "step-after", "strokeWidth": 2}
    return _svg(rows, {"mark": mark, "encoding": encoding})


def draw_effects(by_name: dict[str, Row], negligible: float) -> str:
    """Return a chart of each effect with its interval: delta, low, high, has_moved."""
    rows = [{"name": name} | effect for name, effect in by_name.items()]
    scale = {"domain": [-1, 1]}
    title = "lower when live \u2190  Cliff's delta  \u2192 higher when live"
    row = {
        "y": _field("name", "nominal", sort=None),
        "color": {
            "condition": {"test": "datum.has_moved", "value": "var(--accent)"},
            "value": "var(--muted)",
        },
    }
    negligible_band = {
        "data": {"values": [{}]},
        "mark": {"type": "rect", "fill": "var(--line)", "opacity": 0.6},
        "encoding": {"x": {"datum": -negligible}, "x2": {"datum": negligible}},
    }
    intervals = {
        "mark": {"type": "rule", "strokeWidth": 3},
        "encoding": row | {"x": _field("low", title=title, scale=scale), "x2": {"field": "high"}},
    }
    values = {
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
        "encoding": row | {"x": _field("delta", title=title, scale=scale)},
    }
    return _svg(rows, {"layer": [negligible_band, intervals, values]}, height={"step": 24})


def _field(
    name: str, kind: str = "quantitative", title: str | None = None, **more: object
) -> Chart:
    return {"field": name, "type": kind, "title": title, **more}


def _colours(names: list[str], colours: list[str]) -> Chart:
    scale = {"domain": names, "range": colours}
    return _field("series", "nominal", scale=scale)


def _svg(rows: list[Row], chart: Chart, height: object = 180) -> str:
    spec = {"data": {"values": rows}, "width": 340, "height": height, "config": CONFIG, **chart}
    svg: str = vl_convert.vegalite_to_svg(spec)
    return svg
