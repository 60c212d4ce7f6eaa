#!/usr/bin/env python3
"""Draws docs/performance.svg from what `cargo bench --bench costs -- restart memory --json FILE` wrote.

    benches/plot.py FILE > docs/performance.svg

Standard library only. A bar for each supervisor: how long a restart takes, and the memory that one of many has to
itself.
"""
import json
import sys

PANELS = [("restart", "restart after kill -9, median"), ("memory", "memory that one of many has to itself, median")]
OURS, OTHERS = "#2b6cb0", "#a0aec0"
LEFT, BAR, STEP, WIDTH, PANEL = 110, 300, 26, 520, 44


def text(x, y, words, extra=""):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.0f}" y="{y:.0f}"{extra}>{words}</text>'


def panel(top, title, figures):
    """The lines of one panel, and where it ends."""
    lines = [text(10, top + 20, f"{title} ({figures[0]['unit'].split()[0]})", ' font-weight="bold"')]
    most = max(figure["value"] for figure in figures)
    y = top + PANEL - 8
    for figure in sorted(figures, key=lambda figure: figure["value"]):
        colour = OURS if figure["who"] == "supervise" else OTHERS
        width = max(1.0, BAR * figure["value"] / most)
        lines.append(text(LEFT - 8, y + 14, figure["who"], ' text-anchor="end"'))
        lines.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{STEP - 8}" fill="{colour}"/>')
        lines.append(text(LEFT + width + 6, y + 14, f"{figure['value']:.3g}"))
        y += STEP
    return lines, y


def main():
    figures = json.load(open(sys.argv[1], encoding="utf-8"))
    body, y = [], 4
    for case, title in PANELS:
        of_case = [figure for figure in figures if figure["case"] == case]
        if of_case:
            lines, y = panel(y, title, of_case)
            body += lines
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}" font-family="sans-serif" '
          f'font-size="13" fill="#1a202c">')
    print('<rect width="100%" height="100%" fill="#ffffff"/>')
    print("\n".join(body))
    print("</svg>")


main()
