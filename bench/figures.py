"""The arithmetic of the bench, by itself so that a test can hold it: medians, spreads, ratios of blocks, and which runs count.

A run is a dict: work, measure, variant, block, rate (changes a second), cpu {process: seconds a million changes}, right (bool or None).
One that is not right is void: its figures are in the raw results, and in no median, ratio or chart."""
import math
import statistics


class NoFigure(ValueError):
    """Nothing that counts was measured."""


def order(variants, block):
    """Odd blocks run backwards (A B C C B A), so that a machine that slowly changes favours nobody."""
    return list(variants) if block % 2 == 0 else list(reversed(variants))


def per_million(seconds, changes):
    if changes <= 0:
        raise NoFigure(f"{changes} changes were measured")
    return seconds / changes * 1e6


def rate(changes, seconds):
    if changes <= 0 or seconds <= 0:
        raise NoFigure(f"{changes} changes in {seconds} s")
    return changes / seconds


def counts(run):
    """Only what was compared, and was equal."""
    return run.get("right") is True


def of(runs, **wanted):
    """The runs that count with these properties."""
    return [r for r in runs if counts(r) and all(r.get(k) == v for k, v in wanted.items())]


def void(runs):
    return [r for r in runs if not counts(r)]


def middle(values):
    """(median, least, greatest)."""
    values = list(values)
    if not values:
        raise NoFigure("no run counts")
    return statistics.median(values), min(values), max(values)


def number(v):
    if v >= 10000:
        return f"{v / 1000:,.0f}k"
    return f"{v / 1000:.1f}k" if v >= 1000 else f"{v:.3g}"


def spread(values, show=number):
    """median (least - greatest), as text."""
    m, low, high = middle(values)
    return f"{show(m)} ({show(low)} - {show(high)})"


def cpu_total(run, *processes):
    """CPU seconds a million changes, of these processes or of all."""
    return sum(v for k, v in run["cpu"].items() if not processes or k in processes)


def ratios(runs, above, below, value=lambda r: r["rate"]):
    """value(above) / value(below) in each block that has both; above and below are properties of runs. (median, least, greatest).

    Within a block: what the machine does in the meantime moves both."""
    top, bottom = {}, {}
    for wanted, into in ((above, top), (below, bottom)):
        for r in of(runs, **wanted):
            into.setdefault(r["block"], []).append(value(r))
    both = sorted(set(top) & set(bottom))
    if not both:
        raise NoFigure(f"no block in which both count: {' '.join(above.values())}, {' '.join(below.values())}")
    return middle(statistics.median(top[b]) / statistics.median(bottom[b]) for b in both)


def met(goal, ratio):
    """goal: (">=" or "<=" or "<", bound)."""
    sign, bound = goal
    return {">=": ratio >= bound, "<=": ratio <= bound, "<": ratio < bound}[sign]


def quantile(values, q):
    """The value that a share q of all does not exceed; values sorted."""
    if not values:
        raise NoFigure("no value")
    return values[min(len(values) - 1, max(0, math.ceil(len(values) * q) - 1))]


def slope(points):
    """Of the straight line that is nearest to these (x, y), by least squares."""
    n = len(points)
    if n < 2 or len({x for x, _ in points}) < 2:
        raise NoFigure(f"no line through {n} points")
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    return sum((x - mx) * (y - my) for x, y in points) / sum((x - mx) ** 2 for x, _ in points)


def exponent(points):
    """How cost grows with size: k of cost = c * size^k, for (size, cost of one unit). 1: in proportion, each unit costs the same."""
    if any(x <= 0 or y <= 0 for x, y in points):
        raise NoFigure("a size or a cost that is not above 0")
    return 1 + slope([(math.log(x), math.log(y)) for x, y in points])


def growth(points):
    """What a unit costs at the largest size, as a multiple of what it costs where it is cheapest below: (size, cost of one unit). Not against the
    smallest size: there a unit bears what is paid once, and hides what grows later."""
    *below, (_, last) = sorted(points)
    if not below or min(y for _, y in below) <= 0:
        raise NoFigure("two sizes with a cost are needed")
    return last / min(y for _, y in below)


def late_from(due, done):
    """Latencies counted from when each was due in an open loop: a stalled writer delays those behind it, and they say so."""
    return [b - a for a, b in zip(due, done)]
