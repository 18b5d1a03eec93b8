"""The report's graphs as SVG text: same session, same bytes. Alarm colours appear only on alarms."""

import io
from collections.abc import Iterable, Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from guidance.report.series import Curve

COLOURS = ("#1f5fa8", "#2e7d32", "#8a5a00", "#5b4b9a", "#3c4a52", "#a0522d", "#00695c", "#6b757d")
LOG_FROM = 10.0  # a quantity that spans decades is drawn so once it has left the first
STYLES = ("-", "--", "-.", ":")
FEW = 50  # points that are marked one by one
GAP_PERIODS = 10  # a line does not bridge a longer silence than this
PRIORITY = {"high": "#C40D1A", "medium": "#D9A800", "low": "#1a9fb3"}
_RC = {
    "svg.hashsalt": "guidance",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dde1e4",
    "axes.edgecolor": "#6b757d",
}
Values = NDArray[np.float64]
Line = tuple[str, Curve]
Level = tuple[str, float]
Span = tuple[str, str, float, float]  # name, priority, from s, to s


def curves(
    lines: Iterable[Line], start_ns: int, end_s: float, label: str, levels: Iterable[Level] = (), *, log: bool = False
) -> str:
    """Values along time with their limits as dashed levels; "" where there is nothing to draw."""
    shown = [(name, curve) for name, curve in lines if len(curve.values)]
    if not shown:
        return ""
    with mpl.rc_context(_RC):
        figure, axes = _figure(2.6)
        for number, (name, curve) in enumerate(shown):
            seconds, values = _broken(*curve.thinned(start_ns))
            mark = "." if len(seconds) < FEW else ""
            style = STYLES[number // len(COLOURS) % len(STYLES)]
            axes.plot(seconds, values, style, color=COLOURS[number % len(COLOURS)], lw=1.1, marker=mark, label=name)
        for level, names in _joined(levels).items():
            text = (
                f"limit {level:g} ({', '.join(names)})" if len(names) < 4 else f"limit {level:g} ({len(names)} guards)"
            )
            axes.axhline(level, color="#0b0e10", lw=0.9, ls=(0, (5, 3)))
            axes.annotate(text, (1.0, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
        axes.set_ylabel(label)
        axes.set_xlim(0, end_s or 1)
        if log and max(curve.values.max() for _, curve in shown) > LOG_FROM:
            axes.set_yscale("symlog", linthresh=1.0)
            axes.set_ylim(bottom=0)
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8)
        return _svg(figure)


def spans(rows: Iterable[Span], end_s: float) -> str:
    """When each alarm stood, one line an alarm; the priority is in the line's name, not only in its colour."""
    by_name: dict[str, list[Span]] = {}
    for row in rows:
        by_name.setdefault(f"{row[0]} ({row[1]})", []).append(row)
    if not by_name:
        return ""
    with mpl.rc_context(_RC):
        figure, axes = _figure(0.7 + 0.24 * len(by_name), 0.2)
        for line, group in enumerate(by_name.values()):
            bars = [(start, max(stop - start, end_s / 400)) for _, _, start, stop in group]
            axes.broken_barh(bars, (line - 0.35, 0.7), facecolors=PRIORITY.get(group[0][1], COLOURS[4]))
        axes.set_yticks(range(len(by_name)), list(by_name))
        axes.set_ylim(len(by_name) - 0.4, -0.6)
        axes.set_xlim(0, end_s or 1)
        return _svg(figure)


def bars(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Share of each quality, one bar a tool or stream."""
    rows = {name: count for name, count in counts.items() if sum(count.values())}
    if not rows:
        return ""
    kinds = ("ok", "suspect", "invalid", "missing")
    shades = {"ok": "#2e7d32", "suspect": "#b0b7bc", "invalid": "#6b757d", "missing": "#2b3238"}
    with mpl.rc_context(_RC):
        figure, axes = _figure(0.8 + 0.26 * len(rows), 0.2)
        for line, count in enumerate(rows.values()):
            left = 0.0
            for kind in kinds:
                share = 100.0 * count.get(kind, 0) / sum(count.values())
                axes.barh(line, share, 0.7, left, color=shades[kind], label=kind if line == 0 else None)
                left += share
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of samples in %")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=8)
        return _svg(figure)


def _broken(seconds: Values, values: Values) -> tuple[Values, Values]:
    """The curve with a hole where nothing was measured."""
    steps = np.diff(seconds)
    if not len(steps):
        return seconds, values
    holes = np.flatnonzero(steps > max(GAP_PERIODS * float(np.median(steps)), 0.5)) + 1
    return np.insert(seconds, holes, np.nan), np.insert(values, holes, np.nan)


def _joined(levels: Iterable[Level]) -> dict[float, list[str]]:
    out: dict[float, list[str]] = {}
    for name, level in levels:
        out.setdefault(level, []).append(name)
    return out


def _figure(height: float, left: float = 0.07) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9.5, height))
    FigureCanvasSVG(figure)
    below = 0.42 / height  # room for the time axis; equal margins keep the graphs' times above each other
    axes = figure.add_axes((left, below, 0.78 - left, 1 - below - 0.06 / height))
    axes.set_axisbelow(True)
    axes.set_xlabel("seconds of the session")
    return figure, axes


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :]
