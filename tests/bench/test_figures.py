#!/usr/bin/python3
"""The bench's own arithmetic: a run whose tables differ moves no figure, ratios are taken within blocks, quantiles and latencies are what
their names say. No server."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(os.path.dirname(HERE)), "bench"), os.path.join(os.path.dirname(HERE), "deploy")]
sys.dont_write_bytecode = True

import figures  # noqa: E402
import goals as wanted  # noqa: E402
import tap  # noqa: E402


def run(variant, block, rate, right=True, work="W1", **cpu):
    return {"work": work, "measure": "apply", "variant": variant, "block": block, "rate": rate, "right": right, "cpu": cpu}


def equal(got, want):
    assert got == want, f"got {got}, want {want}"


def refused(function, *args, **kw):
    try:
        got = function(*args, **kw)
    except figures.NoFigure:
        return
    raise AssertionError(f"gave {got}")


def wrong_runs_count_nowhere():
    runs = [run("a", 0, 100), run("a", 1, 900, right=False), run("b", 0, 50), run("b", 1, 10), run("a", 2, 500, right=None)]
    equal(figures.of(runs, variant="a"), [runs[0]])
    equal(figures.void(runs), [runs[1], runs[4]])
    equal(figures.ratios(runs, {"variant": "a"}, {"variant": "b"}), (2.0, 2.0, 2.0))


def a_run_that_was_never_compared_is_void():
    one = run("a", 0, 100)
    del one["right"]
    equal(figures.of([one]), [])
    for said in ("yes", 1, "true"):  # only the comparison's own answer counts
        equal(figures.of([run("a", 0, 100, right=said)]), [])


def nothing_that_counts_is_no_figure():
    refused(figures.middle, [])
    refused(figures.ratios, [run("a", 0, 1, right=False), run("b", 0, 1)], {"variant": "a"}, {"variant": "b"})
    refused(figures.ratios, [run("a", 0, 1), run("b", 1, 1)], {"variant": "a"}, {"variant": "b"})  # never in one block
    refused(figures.rate, 0, 1.0)
    refused(figures.rate, 10, 0.0)
    refused(figures.per_million, 1.0, 0)
    refused(figures.quantile, [], 0.5)


def ratios_are_taken_within_blocks():
    """The machine became ten times slower in block 1: the ratio did not change, though that of the medians of all would have."""
    runs = [run("a", 0, 300), run("b", 0, 100), run("a", 1, 30), run("b", 1, 10), run("a", 2, 20), run("b", 2, 10), run("b", 3, 1000)]
    equal(figures.ratios(runs, {"variant": "a"}, {"variant": "b"}), (3.0, 2.0, 3.0))


def ratios_of_other_works_do_not_mix():
    runs = [run("a", 0, 300), run("b", 0, 100), run("a", 0, 7, work="W3"), run("b", 0, 7, work="W3")]
    equal(figures.ratios(runs, {"work": "W3", "variant": "a"}, {"work": "W3", "variant": "b"})[0], 1.0)


def medians_and_spread():
    equal(figures.middle([5, 1, 3]), (3, 1, 5))
    equal(figures.middle([4, 1, 3, 2]), (2.5, 1, 4))


def cpu_of_some_or_all():
    one = run("a", 0, 1, agent=2.0, broker=3.0)
    equal(figures.cpu_total(one), 5.0)
    equal(figures.cpu_total(one, "agent"), 2.0)
    equal(figures.per_million(0.5, 250000), 2.0)


def blocks_turn_around():
    equal([figures.order("ABC", b) for b in range(3)], [["A", "B", "C"], ["C", "B", "A"], ["A", "B", "C"]])


def quantiles():
    values = list(range(1, 101))
    equal([figures.quantile(values, q) for q in (0, 0.5, 0.99, 1)], [1, 50, 99, 100])
    equal(figures.quantile([7], 0.99), 7)


def a_stall_delays_all_that_were_due():
    """Five due a second apart, the writer stood still for three seconds at the second: those behind it were late as well."""
    equal(figures.late_from([0, 1, 2, 3, 4], [0, 4, 4, 4, 4]), [0, 3, 2, 1, 0])


def a_line_through_points():
    equal(figures.slope([(0, 1), (1, 3), (2, 5)]), 2.0)
    equal(figures.slope([(0, 0), (1, 1), (2, 0)]), 0.0)
    refused(figures.slope, [(1, 1)])
    refused(figures.slope, [(1, 1), (1, 2)])


def growth_of_cost():
    """A unit that costs the same is growth in proportion; one that costs ten times as much at ten times the size is the square."""
    equal(figures.exponent([(1, 5.0), (10, 5.0), (100, 5.0)]), 1.0)
    equal(round(figures.exponent([(1, 2), (10, 20), (100, 200)]), 9), 2.0)
    equal(round(figures.exponent([(100, 1), (1, 10)]), 9), 0.5)
    refused(figures.exponent, [(0, 1), (1, 1)])
    refused(figures.exponent, [(1, 0), (2, 1)])


def growth_is_seen_behind_what_is_paid_once():
    equal(figures.growth([(1, 50.0), (10, 5.0), (100, 10.0)]), 2.0)
    equal(figures.growth([(100, 10.0), (1, 50.0), (10, 5.0)]), 2.0)
    equal(figures.growth([(1, 8.0), (10, 4.0)]), 0.5)
    refused(figures.growth, [(1, 1)])
    refused(figures.growth, [(1, 0), (2, 1)])


def what_the_source_pays():
    """Neither Kafka nor what the source applies itself; within blocks."""
    runs = [dict(run(v, b, 1, work="regions", capture=c, walsender=1.0, server=1.0, broker=99.0, apply=99.0), kind="run")
            for v, b, c in (("2", 0, 2.0), ("8", 0, 2.4), ("8", 1, 6.0), ("2", 1, 6.0))]
    equal([round(x, 9) for x in wanted.source_cpu(runs)], [1.05, 1.0, 1.1])


def the_worst_counts():
    lines = [{"kind": "memory", "less": mb} for mb in (60, 90, 50)]
    equal(wanted.worst("memory", "less")(lines), (90, 50, 90))
    refused(wanted.worst("growth", "growth"), lines)


def goals():
    equal([figures.met((">=", 3.0), 3.0), figures.met((">=", 3.0), 2.99), figures.met(("<", 2.0), 2.0), figures.met(("<=", 2.0), 2.0)],
          [True, False, False, True])


if __name__ == "__main__":
    sys.exit(tap.run([(f.__name__, f) for f in (
        wrong_runs_count_nowhere, a_run_that_was_never_compared_is_void, nothing_that_counts_is_no_figure, ratios_are_taken_within_blocks,
        ratios_of_other_works_do_not_mix, medians_and_spread, cpu_of_some_or_all, blocks_turn_around, quantiles, a_stall_delays_all_that_were_due, a_line_through_points,
        growth_of_cost, growth_is_seen_behind_what_is_paid_once, what_the_source_pays, the_worst_counts, goals)]))
