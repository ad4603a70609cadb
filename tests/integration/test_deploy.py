"""What deploy/ gives a database: the rights there must be enough, and no right too few may be found out only in production."""
import os

import yaml

from harness.case import test

DEPLOY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy")


def compose():
    with open(os.path.join(DEPLOY, "compose", "postgres.sql")) as f:
        return f.read()


def cloudnative_pg():
    with open(os.path.join(DEPLOY, "kubernetes", "examples", "one-cluster", "postgres", "cluster.yaml")) as f:
        statements = yaml.safe_load(f)["spec"]["bootstrap"]["initdb"]["postInitApplicationSQL"]
    # CloudNativePG makes the owner and the database before
    return "CREATE ROLE app LOGIN; SET ROLE app; CREATE TABLE public.notes (id int PRIMARY KEY); RESET ROLE;" + ";".join(statements)


@test(init=False, own_postgres="one", regions=("us",), cases=[("compose", compose), ("cloudnative_pg", cloudnative_pg)])
def rights_are_enough(c, case):
    """`init` and `run` by the role that deploy/ makes, with nobody to grant it anything more"""
    name, text = case
    database, role, owner = f"shop_{name}", f"pangea_{name}", f"app_{name}"
    c.us.sql(f"CREATE DATABASE {database}")
    sql = text()
    for old, new in ((" pangea", f" {role}"), (" app", f" {owner}"), ("DATABASE shop ", f"DATABASE {database} ")):
        assert old in sql, (old, sql)
        sql = sql.replace(old, new)
    superuser = c.us.postgres.connect(database)
    superuser.cursor().execute(f"GRANT CREATE ON SCHEMA public TO PUBLIC; {sql}")
    c.topology["cluster"] = f"{c.name}_{name}"
    c.topology["regions"]["us"]["postgres"]["conninfo"] = c.us.postgres.conninfo(database, role)
    c.write_topology()
    c.command("init", "--region", "us")
    daemon = c.us.run()
    daemon.wait_log("capture.started")
    assert daemon.stop() == 0
    cursor = superuser.cursor()
    cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (role,))
    assert cursor.fetchone() == (False,)
    cursor.execute("SELECT tablename FROM pg_publication_tables WHERE schemaname = 'public'")
    assert cursor.fetchall() == [("notes",)]
    superuser.close()
