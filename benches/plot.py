#!/usr/bin/env python3
"""Writes the figures of `cargo bench --bench costs -- --json FILE` into docs/performance.md and docs/performance.svg.

    benches/plot.py FILE

Standard library only. Run it on the machine that was measured: it says what kind of machine that is. The table is
replaced between its two marks; the plot has a bar for each supervisor.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"
ROWS = [
    ("restart", "restart: kill -9 to the first instruction of the next service, ms", 3),
    ("control", "control byte to the service's signal handler (floor: kill(2)), ms", 3),
    ("control, passed on", "the same (floor: who waits for the byte and sends the signal), ms", 3),
    ("start", "start to the service's first instruction, ms", 3),
    ("memory", "memory that one of 100 has to itself, after a restart, KiB", 0),
    ("scale, memory", "1,000 services: all supervisors together (PSS), MiB", 1),
    ("scale, time", "1,000 services: until all are up, s", 2),
    ("svc status", "`svc status` over 1,000 services, ms", 1),
    ("crash loop", "crash loop: processor time of the supervisor for a restart, µs", 0),
    ("idle", "wake-ups in 20 idle seconds", 0),
    ("size", "the program on disk, KiB (the peers' need shared libraries besides)", 0),
]
PANELS = [("restart", "restart after kill -9, median"), ("memory", "memory that one of many has to itself, median")]
OURS, OTHERS = "#2b6cb0", "#a0aec0"
LEFT, BAR, STEP, WIDTH, PANEL = 110, 300, 26, 520, 44


def value(figures, case, who):
    return next((figure["value"] for figure in figures if (figure["case"], figure["who"]) == (case, who)), None)


def table(figures):
    """The Markdown table: ours, the floor's, each peer's, and what ours is of the floor's and of the best peer's."""
    peers = list(dict.fromkeys(figure["who"] for figure in figures if figure["who"] not in ("supervise", "floor")))
    lines = ["| | supervise | floor | " + "".join(f"{peer} | " for peer in peers) + "of the floor's | of the best peer's |",
             "| --- |" + " --: |" * (len(peers) + 4)]
    for case, title, digits in ROWS:
        ours = value(figures, case, "supervise")
        if ours is None:
            continue
        others = [value(figures, case, who) for who in ["floor", *peers]]
        known = [other for other in others[1:] if other is not None]
        against = [others[0], min(known, default=None)]
        ratios = [f"{ours / other:.2f}" if other else "–" for other in against]
        shown = ["–" if number is None else f"{number:,.{digits}f}" for number in [ours, *others]]
        lines.append("| " + " | ".join([title, *shown, *ratios]) + " |")
    return lines


def machine():
    """What kind of machine this is, and nothing that tells which."""
    kernel = re.match(r"\d+\.\d+", os.uname().release).group()
    kind = subprocess.run(["stat", "-f", "-c", "%T", tempfile.gettempdir()], capture_output=True, text=True).stdout.strip()
    kind = {"ext2/ext3": "ext4"}.get(kind, kind)
    return f"{os.cpu_count()} processors, Linux {kernel}, {kind}; medians."


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


def plot(figures):
    body, y = [], 4
    for case, title in PANELS:
        of_case = [figure for figure in figures if figure["case"] == case]
        if of_case:
            lines, y = panel(y, title, of_case)
            body += lines
    return [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}" font-family="sans-serif" '
            'font-size="13" fill="#1a202c">', '<rect width="100%" height="100%" fill="#ffffff"/>', *body, "</svg>", ""]


def main():
    figures = json.load(open(sys.argv[1], encoding="utf-8"))
    (DOCS / "performance.svg").write_text("\n".join(plot(figures)), encoding="utf-8")
    page = DOCS / "performance.md"
    begin, end = "<!-- figures: benches/plot.py -->", "<!-- end of the figures -->"
    before, rest = page.read_text(encoding="utf-8").split(begin)
    lines = ["", machine(), "", *table(figures), ""]
    page.write_text(before + begin + "\n".join(lines) + end + rest.split(end)[1], encoding="utf-8")


main()
