#!/usr/bin/python3
"""make memory [BENCH_SECONDS=120] [WORKS=W1,W6,W7]: resident memory of the daemons under a steady load. Three regions write rows at a fixed rate each
(open loop), so every daemon captures one log and applies two; each second its resident memory is read. W1: rows of about 100 bytes, W6: of 10 kB,
W7: of 1 MB. start is the first sample under load, slope that of the line through the second half's samples, peak what the kernel says. The goal:
a peak below 128 MB and eight times the largest row."""
import os
import statistics
import threading
import time

from common import Cluster, case, kept_in, keep, main, paced
import figures
import goals
import proc
from work import WORKS

REGIONS = ("us", "eu", "ap")


class Writer(threading.Thread):
    """The open loop of one region; keys that no other region uses. What went wrong is raised by done()."""

    def __init__(self, region, place, work, rate, seconds):
        super().__init__(daemon=True)
        self.region, self.place, self.work, self.rate, self.seconds = region, place, work, rate, seconds
        self.written, self.error = 0, None
        self.start()

    def run(self):
        try:
            c = self.region.connect()
            for i, _ in paced(self.rate, self.seconds, time.monotonic()):
                c.cursor().execute(f"DO $$ DECLARE i bigint := {i * len(REGIONS) + self.place}; BEGIN {self.work.change}; END $$")
                self.written += 1
            c.close()
        except Exception as e:
            self.error = e

    def done(self):
        self.join()
        if self.error:
            raise self.error
        return self.written


def sample(c, seconds):
    """{region: [(second, MB)]}, the first one second after the beginning."""
    out, begin = {r.name: [] for r in c}, time.monotonic()
    for _, due in paced(1, seconds + 1, begin, 1):
        for r in c:
            out[r.name].append((round(due - begin), proc.resident_mb(r.daemon.pid)))
    return out


def once(servers, args, name, rate):
    """{region: (samples, peak)} of one work, and how many rows there were."""
    work = WORKS[name]
    c = Cluster(servers, f"memory_{name.lower()}", os.path.join(servers.folder, f"memory-{name}"), args.build, regions=REGIONS, own_postgres="each", own_kafka="each")
    try:
        case.prepare(c, {"tables": work.tables})
        c.barrier(60)
        writers = [Writer(r, place, work, rate, args.seconds) for place, r in enumerate(c)]
        samples = sample(c, args.seconds)
        written = [w.done() for w in writers]
        c.barrier(300)
        c.expect("SELECT count(*) FROM public.t", [(sum(written),)], limit=300)
        c.verify(300)
        return {r.name: (samples[r.name], proc.peak_mb(r.daemon.pid)) for r in c}, sum(written)
    except Exception:
        print(c.dump(), flush=True)
        raise
    finally:
        c.close()


def figure(samples, peak, largest):
    """What a daemon's samples say, in MB, a line of the raw results."""
    half = samples[len(samples) // 2:]
    return {"start": samples[0][1], "median": statistics.median(mb for _, mb in samples), "peak": peak, "slope": 60 * figures.slope(half), "largest": largest,
            "less": peak - 8 * largest}


def run(servers, args):
    rates = {"W1": args.rate, "W6": args.rate6, "W7": args.rate7}
    lines, rows, charts = [], [], []
    for name in args.works.split(","):
        got, written = once(servers, args, name, rates[name])
        largest = goals.LARGEST.get(name, 0)
        for region, (samples, peak) in got.items():
            f = figure(samples, peak, largest)
            lines.append({"kind": "memory", "work": name, "region": region, "rate": rates[name], "seconds": args.seconds, "rows": written, **f,
                          "samples": samples, "load": proc.load()})
            rows.append([name, region, f"{rates[name]:g}", *(f"{f[k]:.1f}" for k in ("start", "median", "peak")), f"{f['slope']:+.2f}",
                         f"{128 + 8 * largest:.0f}", "met" if f["less"] < 128 else "missed"])
            print(f"{name} {region}: {' '.join(rows[-1][3:])}", flush=True)
        charts.append({"file": f"memory-{name}.svg", "title": f"{name}, {rates[name]:g} rows/s in each region: resident memory of the daemons", "across": "seconds",
                       "up": "MB", "series": {region: samples for region, (samples, _) in got.items()}})
    keep(args.json, "Memory over time",
         [(f"{len(REGIONS)} regions, {args.seconds} s of load; MB", ["work", "daemon", "rows/s", "start", "median", "peak", "slope MB/min", "goal", ""], rows)],
         charts, lines)
    return 0


if __name__ == "__main__":
    main(__doc__, run, {"works": (str, "W1", "which of W1, W6, W7"), "seconds": (int, 120, "of load, for each work"),
                        "rate": (float, 200, "rows a second in each region, W1"), "rate6": (float, 50, "the same of W6"), "rate7": (float, 1, "the same of W7"),
                        **kept_in("memory")})
