"""CPU time and memory of processes, out of /proc."""
import os

TICK = os.sysconf("SC_CLK_TCK")


def cpu(pid):
    """Seconds of CPU time of a process, None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / TICK


def status_mb(pid, name):
    try:
        with open(f"/proc/{pid}/status") as f:
            return next((int(line.split()[1]) / 1024 for line in f if line.startswith(name + ":")), None)
    except OSError:
        return None


def peak_mb(pid):
    return status_mb(pid, "VmHWM")


def resident_mb(pid):
    return status_mb(pid, "VmRSS")


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            return [int(x) for x in f.read().split()]
    except OSError:
        return []


def load():
    with open("/proc/loadavg") as f:
        return float(f.read().split()[0])


def busy():
    """CPU seconds of the whole machine that were not idle, since its start."""
    with open("/proc/stat") as f:
        user, nice, system, _, _, irq, soft, steal = (int(x) for x in f.readline().split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICK


def autogroup():
    """The weight of this process's session for the scheduler; None where there are no autogroups."""
    try:
        with open("/proc/self/autogroup") as f:
            return int(f.read().split("nice")[1])
    except (OSError, IndexError, ValueError):
        return None


OWN = autogroup()


def level(pid):
    """Gives a process's session the weight of ours. Server processes are sessions of their own, agents are in ours: when the bench
    runs with less weight than others, some of what is compared would have it and some not."""
    if OWN is None:
        return
    try:
        with open(f"/proc/{pid}/autogroup", "w") as f:
            f.write(str(OWN))
    except OSError:
        pass  # gone meanwhile, or another user's: then all of them are


class Meter:
    """CPU of named processes between two moments. find() -> {name: pids} is asked at each sample, so that a process that comes later is
    counted from its birth, and one that has gone counts with what was seen last."""

    def __init__(self, find):
        self.find, self.first, self.last, self.peak = find, {}, {}, {}
        self.sample()
        self.first = dict(self.last)

    def sample(self):
        for name, pids in self.find().items():
            for pid in pids:
                seconds = cpu(pid)
                if seconds is None:
                    continue
                if (name, pid) not in self.last:
                    level(pid)
                self.last[name, pid] = seconds
                self.peak[name, pid] = peak_mb(pid) or self.peak.get((name, pid), 0)

    def again(self):
        """From now on."""
        self.sample()
        self.first = dict(self.last)

    def seconds(self):
        """{name: CPU seconds} since the beginning."""
        out = {}
        for key, v in self.last.items():
            out[key[0]] = out.get(key[0], 0) + v - self.first.get(key, 0)
        return out

    def peaks(self):
        """{name: MB}, the largest process of each name."""
        out = {}
        for (name, _), mb in self.peak.items():
            out[name] = max(out.get(name, 0), mb)
        return out
