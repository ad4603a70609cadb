"""Charts as SVG, without a library: horizontal bars in groups, each with its value and a line from the least to the greatest run; and lines over x."""
import math
from html import escape

COLOURS = {"pangea": "#1f77b4", "native": "#7f7f7f", "pg_recvlogical": "#bcbd22", "debezium": "#f7b6a5", "debezium_tuned": "#d62728",
           "debezium_flat": "#e377c2"}
SPARE = ("#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf")
BAR, GAP, LEFT, WIDE = 16, 14, 130, 760


def human(v):
    for bound, sign in ((1e6, "M"), (1e3, "k")):
        if v >= bound:
            return f"{v / bound:.3g}{sign}"
    return f"{v:.3g}"


def text(x, y, what, anchor="start", size=12, bold=False):
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{weight}>{escape(what)}</text>'


def page(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="sans-serif">'
            f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n')


def colour(name, place):
    return COLOURS.get(name, SPARE[place % len(SPARE)])


def bars(title, groups):
    """groups: [(name of the group, [(name, median, least, greatest)])]. Each group has a scale of its own: works differ by orders of magnitude."""
    parts, y = [text(10, 22, title, size=15, bold=True)], 40
    room = WIDE - LEFT - 90
    for name, rows in groups:
        parts.append(text(10, y + 12, name, bold=True))
        y += 18
        top = max(high for _, _, _, high in rows) or 1
        for place, (who, middle, low, high) in enumerate(rows):
            w, mid = room * middle / top, y + BAR / 2 - 1
            parts.append(text(LEFT - 8, y + 12, who, "end"))
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{w:.1f}" height="{BAR - 2}" fill="{colour(who, place)}"/>')
            parts.append(f'<path d="M{LEFT + room * low / top:.1f} {mid} H{LEFT + room * high / top:.1f}" stroke="#000" stroke-width="1.5"/>')
            parts.append(text(LEFT + room * high / top + 6, y + 12, human(middle)))
            y += BAR
        y += GAP
    return page(WIDE, y, parts)


def lines(title, across, up, series, log=False):
    """series: {name: [(x, y)]}; both axes begin at 0, with log that of x has a mark at each power of ten."""
    height, top, bottom = 340, 46, 290
    points = [p for s in series.values() for p in s]
    most_x, most_y = max(p[0] for p in points) or 1, max(p[1] for p in points) or 1
    least = 10 ** math.floor(math.log10(min(p[0] for p in points))) if log else 0
    tens = math.ceil(math.log10(most_x / least)) or 1 if log else 0
    share_x = lambda x: math.log10(x / least) / tens if log else x / most_x  # noqa: E731
    at = lambda p: (70 + (WIDE - 230) * share_x(p[0]), bottom - (bottom - top) * p[1] / most_y)  # noqa: E731
    parts = [text(10, 22, title, size=15, bold=True), text(70, bottom + 38, across), text(10, 40, up, size=11),
             f'<path d="M70 {top} V{bottom} H{WIDE - 160}" fill="none" stroke="#000"/>']
    for x in [least * 10 ** k for k in range(tens + 1)] if log else [most_x * k / 4 for k in range(5)]:
        parts.append(text(at((x, 0))[0], bottom + 18, human(x), "middle", 11))
    for y in [most_y * k / 4 for k in range(5)]:
        parts.append(text(64, at((least, y))[1] + 4, human(y), "end", 11))
    for place, (name, values) in enumerate(series.items()):
        c, spots = colour(name, place), [at(p) for p in sorted(values)]
        parts.append(f'<polyline fill="none" stroke="{c}" stroke-width="2" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in spots)}"/>')
        parts.append(f'<rect x="{WIDE - 150}" y="{top + 18 * place}" width="12" height="12" fill="{c}"/>' + text(WIDE - 132, top + 11 + 18 * place, name))
    return page(WIDE, height, parts)
