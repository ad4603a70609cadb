"""How a test is written.

    @test(tables="CREATE TABLE public.t (id int PRIMARY KEY, v text)")
    def row_appears(c):
        '''what may break'''

    @test(tables=.., cases=[("name", ..), ..])
    def types(c, case):
        '''one cluster for all cases; each case is counted'''

The cluster is made, `tables` are run in every region as the owner of its database (`sql` before it as superuser), then `pangea init`, then
(unless run=False) a daemon in each region. With init=False the test does all of it by itself. `tables` and `sql` may be functions of the cluster.
"""
import inspect


class Test:
    def __init__(self, function, options):
        self.function, self.options = function, options
        self.cases = options.pop("cases", None)
        self.limit = options.pop("limit", 60)
        self.name = f"{function.__module__.replace('test_', '', 1)}.{function.__name__}"
        self.why = (inspect.getdoc(function) or "").split("\n")[0]


def test(**options):
    def mark(function):
        function.test = Test(function, options)
        return function
    return mark


def prepare(cluster, options):
    """Everything before the first line of the test."""
    if not options.get("init", True):
        return
    for key, run in (("sql", lambda text: [r.sql(text) for r in cluster]), ("tables", cluster.tables)):
        what = options.get(key)
        if callable(what):
            what(cluster)
        elif what:
            run(what)
    cluster.init(args=options.get("init_args", ()))
    if options.get("run", True):
        cluster.run()


# What goes to Cluster().
CLUSTER_OPTIONS = ("regions", "followers", "own_postgres", "own_kafka", "topology", "databases", "http")
