"""HTML in small pieces; every text that comes from a recording is escaped here and nowhere else."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
:root { --bg: #E9ECEE; --panel: #fff; --strong: #0B0E10; --text: #23292E; --dim: #4D565D; --line: #AEB6BC }
* { box-sizing: border-box }
body { margin: 0; background: var(--bg); color: var(--text); font: 15px/1.45 "B612", "DejaVu Sans", sans-serif }
main { max-width: 1120px; margin: 0 auto; padding: 1.5rem }
header.banner { background: #1D2226; color: #F4F6F7; padding: .5rem 1.5rem; font-weight: 700; letter-spacing: .04em }
h1 { font-size: 1.7rem; margin: .4rem 0 .2rem; color: var(--strong) }
h2 { font-size: 1.15rem; margin: 0 0 .6rem; color: var(--strong) }
section { background: var(--panel); border: 1px solid var(--line) }
section { padding: 1rem 1.2rem; margin: 1rem 0; overflow-x: auto }
p.note { color: var(--dim); margin: .4rem 0 }
table { border-collapse: collapse; width: 100%; font-size: .87rem }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #dde1e4 }
th { color: var(--dim); font-weight: 600; white-space: nowrap }
td.n, th.n { text-align: right; font-family: "B612 Mono", "DejaVu Sans Mono", monospace; white-space: nowrap }
td.c { word-break: break-all; font-family: "B612 Mono", "DejaVu Sans Mono", monospace; font-size: .8rem }
.key { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: .8rem }
.key div { border-left: 4px solid var(--line); padding: .1rem .7rem }
.key b { display: block; font-size: 1.35rem; color: var(--strong) }
.p { font-weight: 700; padding: 0 .4rem; white-space: nowrap }
.p.high { background: #C40D1A; color: #fff }
.p.medium { background: #F5C400; color: #14171A }
.p.low { background: #5CD6E8; color: #14171A }
figure { margin: .4rem 0 } figure svg { width: 100%; height: auto } figure img { max-width: 100%; background: #000 }
figcaption { color: var(--dim); font-size: .87rem }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 1rem }
@media print { body { background: #fff } section { break-inside: avoid; border: 0 } }
"""
SHAPES = {"high": "▲▲▲ HIGH", "medium": "▲▲ MEDIUM", "low": "■ LOW"}
Cell = Any


class Markup(str):
    """Text that is HTML already."""


def cell(value: Cell) -> str:
    """One value as HTML text: numbers plain, missing things named, maps as `name value` pairs."""
    if isinstance(value, Markup):
        return value
    if value is None or value in ("", {}, []):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1e-3 or abs(value) >= 1e6 else f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, Mapping):
        return ", ".join(f"{escape(str(name))} {cell(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value)
    return escape(str(value))


def table(heads: Sequence[str], rows: Iterable[Sequence[Cell]], empty: str) -> str:
    """A table, or the sentence `empty`. A column whose every value is a number stands right."""
    body = [list(row) for row in rows]
    if not body:
        return f'<p class="note">{escape(empty)}</p>'
    numeric = [all(_is_number(row[i]) for row in body) for i in range(len(heads))]
    classes = [' class="n"' if flag else "" for flag in numeric]
    head = "".join(f"<th{c}>{escape(name)}</th>" for name, c in zip(heads, classes, strict=True))
    lines = ["".join(f"<td{c}>{cell(v)}</td>" for v, c in zip(row, classes, strict=True)) for row in body]
    rows_html = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows_html}</tbody></table>"


def section(title: str, *parts: str) -> str:
    """A titled part of the page; nothing where all parts are empty."""
    body = "".join(parts)
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def priority(name: str) -> Markup:
    """A priority as shape, word and colour."""
    return Markup(f'<span class="p {escape(name)}">{SHAPES.get(name, escape(name))}</span>')


def figure(svg: str, caption: str) -> str:
    """A graph with its caption; "" where there is no graph."""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>" if svg else ""


def page(title: str, banner: str, body: str) -> str:
    """The whole document: no script, nothing from elsewhere."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f'<header class="banner">{escape(banner)}</header><main>{body}</main></body></html>\n'
    )


def _is_number(value: Cell) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
