"""Small pieces of HTML: escaped text, tables, figures, and the frame around them."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Iterable, Mapping, Sequence

_CSS = """
:root { color-scheme: light dark; --ink: #1c2126; --soft: #5b6570; --line: #d8dde2; --paper: #ffffff;
  --panel: #f4f6f8; --accent: #0072b2; --warn: #9a4a00; --warnbg: #fff4e8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #a3adb7; --line: #3a424a; --paper: #14181c;
  --panel: #1d2329; --accent: #6cb8e6; --warn: #ffb877; --warnbg: #33261a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .2rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .4rem; }
p { margin: .5rem 0; max-width: 46rem; } .soft { color: var(--soft); } a { color: var(--accent); }
nav { margin: 1rem 0; display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .95rem; }
dl.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: .7rem; margin: 1.2rem 0; }
dl.cards div { background: var(--panel); border-radius: .5rem; padding: .6rem .8rem; }
dl.cards dd.unknown { font-size: .85rem; font-weight: 400; color: var(--soft); }
dl.cards dt { font-size: .85rem; color: var(--soft); } dl.cards dd { margin: 0; font-size: 1.1rem; font-weight: 600; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .92rem; min-width: 50%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; white-space: nowrap; } td:first-child { min-width: 7rem; }
td.number { text-align: right; white-space: nowrap; } th.number { text-align: right; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; background: #fff; border-radius: .4rem;
  padding: .4rem; border: 1px solid var(--line); }
figcaption { color: var(--soft); font-size: .92rem; max-width: 46rem; }
aside { background: var(--warnbg); border-left: .3rem solid var(--warn); padding: .5rem .9rem; border-radius: .3rem;
  margin: 1rem 0; }
aside h2, aside h3 { border: 0; margin: .2rem 0; padding: 0; font-size: 1.02rem; color: var(--warn); }
aside ul { margin: .3rem 0; padding-left: 1.2rem; }
pre { background: var(--panel); padding: .8rem; border-radius: .4rem; overflow-x: auto; font-size: .85rem; }
code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre code { overflow-wrap: normal; }
summary { cursor: pointer; color: var(--accent); }
@media print { nav { display: none; } figure, table { break-inside: avoid; } }
"""


def text(value: object) -> str:
    """Escaped text; numbers in a readable form."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    return html.escape(str(value))


def number(value: float, digits: int = 4) -> str:
    """A number with some significant digits; a dash for what is not known."""
    if math.isnan(value):
        return "–"
    rounded = f"{value:.{digits}g}"
    if "e" in rounded and abs(value) < 1e7 and abs(value) >= 1:
        rounded = f"{value:.0f}"
    if "e" in rounded:
        mantissa, exponent = rounded.split("e")
        return f"{mantissa.replace('-', '−')} × 10<sup>{int(exponent):d}</sup>".replace("<sup>-", "<sup>−")
    return rounded.replace("-", "−")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; numbers stand right."""
    rows = [list(row) for row in rows]
    if not rows:
        return ""
    numeric = [all(isinstance(cell, int | float) for cell in column) for column in zip(*rows, strict=True)]
    mark = [' class="number"' if is_number else "" for is_number in numeric]
    top = "".join(f'<th scope="col"{m}>{text(name)}</th>' for name, m in zip(head, mark, strict=True))
    cells = ["".join(f"<td{m}>{text(cell)}</td>" for cell, m in zip(row, mark, strict=True)) for row in rows]
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def pairs(rows: Mapping[str, object]) -> str:
    """A table of names and values."""
    body = "".join(f'<tr><th scope="row">{text(name)}</th><td>{text(value)}</td></tr>' for name, value in rows.items())
    return f'<div class="scroll"><table><tbody>{body}</tbody></table></div>' if body else ""


def paragraph(words: str, soft: bool = False) -> str:
    """A paragraph of escaped text."""
    return f"<p{' class=soft' if soft else ''}>{html.escape(words)}</p>"


def image(content: bytes, caption: str) -> str:
    """A figure inside the page itself, with its caption (also read aloud instead of it)."""
    width = int.from_bytes(content[16:20], "big") // 2
    data = base64.b64encode(content).decode()
    return (
        f'<figure><img width="{width}" alt="{html.escape(caption, quote=True)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def notice(title: str, lines: Sequence[str], words: str = "") -> str:
    """A box that must not be overlooked, with a sentence about all its lines; empty if there are none."""
    if not lines:
        return ""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    said = f"<p>{html.escape(words)}</p>" if words else ""
    return f"<aside><h3>{html.escape(title)}</h3>{said}<ul>{items}</ul></aside>"


def frame(title: str, subtitle: str, head: str, sections: Mapping[str, str], meta: Mapping[str, object]) -> str:
    """The page.

    Args:
        title: of the page.
        subtitle: below it.
        head: HTML before the first section.
        sections: HTML by heading; empty ones are left out.
        meta: names and contents of meta tags.
    """
    kept = {name: body for name, body in sections.items() if body}
    ids = {name: "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-") for name in kept}
    nav = "".join(f'<a href="#{ids[name]}">{html.escape(name)}</a>' for name in kept)
    body = "".join(f'<section id="{ids[n]}"><h2>{html.escape(n)}</h2>{b}</section>' for n, b in kept.items())
    tags = "".join(
        f'<meta name="{html.escape(name, quote=True)}" content="{html.escape(str(value), quote=True)}">\n'
        for name, value in meta.items()
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n{tags}'
        f"<title>{html.escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f'<header><h1>{html.escape(title)}</h1><p class="soft">{html.escape(subtitle)}</p>{head}'
        f'<nav aria-label="Sections">{nav}</nav></header>\n<main>{body}</main>\n</body>\n</html>\n'
    )
