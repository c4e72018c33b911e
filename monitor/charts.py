"""The report's charts, as SVG whose colours are the page's own."""

from typing import Any

import vl_convert

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


def traffic(rows: list[Row]) -> str:
    """Draw the tweets of each hour or day: time, label, tweets."""
    return _svg(
        rows,
        {
            "mark": "bar",
            "encoding": {
                "x": {
                    "field": "time",
                    "type": "temporal",
                    "title": None,
                    "scale": {"type": "utc"},
                    "axis": {"format": "%d %b %Hh", "tickCount": 4},
                },
                "y": {"field": "tweets", "type": "quantitative", "title": "tweets"},
                "color": _colours(["disaster", "not_disaster"], LABELS),
            },
        },
    )


def probabilities(rows: list[Row]) -> str:
    """Draw how often each probability is answered: probability, tweets (whose), share."""
    return _svg(
        rows,
        {
            "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
            "encoding": {
                "x": {"field": "probability", "type": "quantitative", "title": "P(disaster)"},
                "y": {
                    "field": "share",
                    "type": "quantitative",
                    "axis": {"format": "%"},
                    "title": None,
                },
                "color": _colours(["live", "held out"], ["var(--accent)", "var(--muted)"]),
            },
        },
    )


def effects(found: dict[str, Row], negligible: float) -> str:
    """Draw each effect with its interval: by name, delta, low, high, moved."""
    rows = [{"name": name} | one for name, one in found.items()]
    across = {"type": "quantitative", "scale": {"domain": [-1, 1]}}
    names = {"field": "name", "type": "nominal", "title": None, "sort": None}
    colour = {
        "condition": {"test": "datum.moved", "value": "var(--accent)"},
        "value": "var(--muted)",
    }
    band = {"x": {"datum": -negligible}, "x2": {"datum": negligible}}
    title = "lower when live \u2190  Cliff's delta  \u2192 higher when live"
    return _svg(
        rows,
        {
            "layer": [
                {
                    "data": {"values": [{}]},
                    "mark": {"type": "rect", "fill": "var(--line)", "opacity": 0.6},
                    "encoding": band,
                },
                {
                    "mark": {"type": "rule", "strokeWidth": 3},
                    "encoding": {
                        "y": names,
                        "x": {"field": "low", "title": title, **across},
                        "x2": {"field": "high"},
                        "color": colour,
                    },
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                    "encoding": {"y": names, "x": {"field": "delta", **across}, "color": colour},
                },
            ],
        },
        height={"step": 24},
    )


def _colours(names: list[str], colours: list[str]) -> Chart:
    scale = {"domain": names, "range": colours}
    return {"field": "whose", "type": "nominal", "scale": scale}


def _svg(rows: list[Row], chart: Chart, height: object = 180) -> str:
    spec = {"data": {"values": rows}, "width": 340, "height": height, "config": CONFIG, **chart}
    drawn: str = vl_convert.vegalite_to_svg(spec)
    return drawn
