"""Every built-in type, byte for byte, as a value and as a key."""
from harness.case import test
from harness.wait import same

SQL = """
CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree;
GRANT CREATE ON SCHEMA public TO app;
"""
USER_TYPES = """
CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'Very "happy"');
CREATE TYPE public.pair AS (a int, "B b" text);
CREATE TYPE public.nested AS (p public.pair, m public.mood[]);
CREATE DOMAIN public.positive AS numeric(20,4) CHECK (VALUE > 0);
CREATE DOMAIN public.names AS text[];
CREATE TYPE public.span AS RANGE (subtype = float8);
"""

# type, then values as SQL expressions
VALUES = [
    ("bool", "true", "false"),
    ("int2", "-32768", "32767", "0"),
    ("int4", "-2147483648", "2147483647", "0"),
    ("int8", "-9223372036854775808", "9223372036854775807", "0"),
    ("oid", "0", "4294967295"),
    ("numeric", "'NaN'", "'Infinity'", "'-Infinity'", "0", "1.10", "1.1", "-0.000000000000000000000001", "repeat('9', 1000)::numeric",
     "1e-1000", "100000000000000000000"),
    ("numeric(10,-2)", "12345", "'NaN'"),
    ("float4", "'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "1e-45", "3.4028235e38", "0.1"),
    ("float8", "'NaN'", "'Infinity'", "'-Infinity'", "'-0'", "5e-324", "1.7976931348623157e308", "0.1", "0.1+0.2::float8"),
    ("money", "'-92233720368547758.08'", "'1234.56'", "0"),
    ("text", "''", "'NULL'", "'null'", r"E'\\N'", r"E'tab\tnew\nline\rback\\slash'", "'quote'' \" and , {} () '", "'Ünïcödé 日本 🌍'", "E'\\x01\\x7f'",
     "repeat('long ', 20000)"),
    ("varchar(10)", "'x'", "'trailing  '", "''"),
    ("char(10)", "'x'", "'trailing  '", "''"),
    ('"char"', "'x'", "''"),
    ("name", "'a name'"),
    ("bytea", r"'\x'", r"'\x00ff5c270a'", "decode(repeat('00ff', 50000), 'hex')"),
    ("date", "'infinity'", "'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'", "'2000-02-29'"),
    ("timestamp", "'infinity'", "'-infinity'", "'4713-01-01 00:00:00 BC'", "'294276-12-31 23:59:59.999999'", "'2024-06-30 12:34:56.789012'"),
    ("timestamptz", "'infinity'", "'-infinity'", "'4713-01-01 00:00:00+00 BC'", "'294276-12-31 23:59:59.999999+00'", "'2024-06-30 12:34:56.789012+05:45'"),
    ("timestamp(0)", "'2024-06-30 12:34:56'"),
    ("time", "'00:00'", "'24:00'", "'23:59:59.999999'"),
    ("timetz", "'00:00+15:59'", "'24:00-15:59'", "'12:34:56.789012+05:45:30'"),
    ("interval", "'0'", "'1 mon -1 day +00:00:01'", "'-178000000 years'", "'178000000 years'", "'1 year 2 mons 3 days 04:05:06.789'",
     "'-1 mon +30 days -24:00:00'"),
    ("interval day to second(3)", "'3 days 04:05:06.789'"),
    ("uuid", "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "'12345678-9abc-def0-1234-56789abcdef0'"),
    ("inet", "'0.0.0.0/0'", "'192.168.1.5/24'", "'::ffff:1.2.3.4'", "'2001:db8::1/64'"),
    ("cidr", "'10.0.0.0/8'", "'2001:db8::/32'"),
    ("macaddr", "'08:00:2b:01:02:03'"),
    ("macaddr8", "'08:00:2b:01:02:03:04:05'"),
    ("bit(5)", "B'10101'", "B'00000'"),
    ("varbit", "B''", "B'1'", "B'10101010101010101'"),
    ("json", """'{"a": 1,  "a": 2, "b":[null, true, 1.0]}'""", "'\"text\"'", "'null'"),
    ("jsonb", """'{"b": 1.00, "a": [null, {"c": "\\u00e9"}]}'""", "'null'", "'[]'", "'1e100'"),
    ("jsonpath", "'$.a[*] ? (@ > 1)'"),
    ("xml", "'<a b=\"c\">text &amp; more</a>'", "'just content <x/>'"),
    ("tsvector", "'a:1A cat:2B,3 ''it''''s'':4'", "''"),
    ("tsquery", "'fat & (rat | cat:AB) & !dog'", "'a <-> b'"),
    ("point", "'(1.5,-2)'", "'(NaN,Infinity)'"),
    ("line", "'{1,-1,0.1}'"),
    ("lseg", "'[(0,0),(1,1)]'"),
    ("box", "'(2,2),(0,0)'"),
    ("path", "'((0,0),(1,1),(2,0))'", "'[(0,0),(1,1)]'"),
    ("polygon", "'((0,0),(1,1),(2,0))'"),
    ("circle", "'<(1,2),3.5>'"),
    ("int4range", "'empty'", "'[1,10)'", "'(,5)'", "'(,)'"),
    ("numrange", "'[1.10,2.2]'", "'empty'", "'(NaN,]'"),
    ("tstzrange", "'[2024-01-01 00:00+00,infinity)'", "'(,2024-01-01 00:00+00]'"),
    ("daterange", "'[2024-01-01,infinity]'"),
    ("int4multirange", "'{}'", "'{[1,3),[5,8)}'"),
    ("datemultirange", "'{[2024-01-01,2024-02-01),(,2000-01-01)}'"),
    ("int4[]", "'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'", "'[0:2]={7,8,9}'", "'[-1:0][2:3]={{1,2},{3,4}}'"),
    ("text[]", "'{}'", "ARRAY['', 'NULL', NULL, 'a,b', 'q\"uote', E'back\\\\slash', ' blank ']", "ARRAY[ARRAY['a','b'],ARRAY['c',NULL]]"),
    ("bytea[]", r"ARRAY['\x00'::bytea, '\xff5c'::bytea]"),
    ("numeric[]", "'{NaN,Infinity,1.10}'"),
    ("float8[]", "'{NaN,-Infinity,-0,0.1}'"),
    ("timestamptz[]", "'{infinity,\"2024-06-30 12:00:00+02\"}'"),
    ("interval[]", "'{\"1 mon -1 day\",\"00:00:01\"}'"),
    ("bool[]", "'{t,f,NULL}'"),
    ("uuid[]", "'{12345678-9abc-def0-1234-56789abcdef0}'"),
    ("jsonb[]", """ARRAY['{"a": "b,c"}'::jsonb, 'null'::jsonb]"""),
    ("int4range[]", "'{\"[1,3)\",empty}'"),
    ("public.mood", "'sad'", "'Very \"happy\"'"),
    ("public.mood[]", "'{sad,NULL,\"Very \\\\\"happy\\\\\"\"}'".replace("\\\\", "\\")),
    ("public.pair", "ROW(1, 'x')", "ROW(NULL, '')", "ROW(NULL, NULL)", "ROW(2, 'quote \" comma , paren ) back \\ ')"),
    ("public.pair[]", "ARRAY[ROW(1, 'a,b')::public.pair, NULL]"),
    ("public.nested", "ROW(ROW(1, 'x'), '{sad,ok}')"),
    ("public.positive", "0.0001", "9999999999999999.9999"),
    ("public.names", "'{a,\"b c\"}'"),
    ("public.span", "'[0.1,NaN)'", "'empty'"),
    ("public.hstore", "'a=>1, \"b c\"=>NULL, \"q\\\"\"=>\"\"'", "''"),
    ("public.citext", "'MiXed'", "''"),
    ("public.ltree", "'Top.Science.Astronomy'"),
    ("regclass", "'pg_catalog.pg_class'"),
    ("regtype", "'pg_catalog.int4'"),
    ("pg_lsn", "'16/B374D848'", "'0/0'"),
    ("xid8", "'18446744073709551615'"),
    ("txid_snapshot", "'10:20:10,14,15'"),
    ("pg_snapshot", "'10:20:10,14,15'"),
]

# As a key in a table that both regions write. Values that are equal under the type must be one key, whatever their bytes.
KEYS = [
    ("bool", "true", "false"),
    ("int2", "-32768", "32767"),
    ("int8", "-9223372036854775808", "9223372036854775807"),
    ("oid", "4294967295"),
    ("numeric", "'NaN'", "'Infinity'", "'-Infinity'", "0", "1.10", "-1e-20", "1e50"),
    ("float4", "'NaN'", "'Infinity'", "'-0'", "'1e-45'", "'0.1'"),
    ("float8", "'NaN'", "'-Infinity'", "'-0'", "5e-324", "0.1"),
    ("text", "''", "'a'", "'A'", "'Ünïcödé'", "E'tab\\tnew\\n'", "'NULL'"),
    ("varchar(10)", "'x'", "'x '"),
    ("char(10)", "'x'", "''"),
    ("bytea", r"'\x'", r"'\x00'", r"'\xff5c'"),
    ("date", "'infinity'", "'2000-02-29'", "'4713-01-01 BC'"),
    ("timestamp", "'-infinity'", "'2024-06-30 12:34:56.789012'"),
    ("timestamptz", "'infinity'", "'2024-06-30 12:34:56.789012+05:45'"),
    ("time", "'24:00'", "'00:00'"),
    ("uuid", "'00000000-0000-0000-0000-000000000000'", "'12345678-9abc-def0-1234-56789abcdef0'"),
    ("inet", "'192.168.1.5/24'", "'::1'"),
    ("cidr", "'10.0.0.0/8'"),
    ("macaddr", "'08:00:2b:01:02:03'"),
    ("bit(5)", "B'10101'"),
    ("varbit", "B''", "B'1'", "B'10'"),
    ("public.mood", "'sad'", "'Very \"happy\"'"),
    ("public.positive", "1.5"),
]

# These have equal values with unequal bytes that we do not canonicalize, so several writers are refused; one writer is fine.
KEYS_OF_ONE_WRITER = [
    ("interval", "'1 mon'", "'29 days'", "'-1 hour'"),
    ("jsonb", """'{"a": 1.0}'""", "'null'"),
    ("public.citext", "'MiXed'", "''"),
    ("int4[]", "'{1,NULL}'", "'{}'"),
    ("public.pair", "ROW(1, 'x')::public.pair"),
    ("int4range", "'empty'", "'[1,10)'"),
    ("timetz", "'12:00+01'", "'12:00+02'"),
    ("pg_lsn", "'16/B374D848'"),
]


def tables(rows, prefix, make):
    return USER_TYPES + "".join(f"CREATE TABLE public.{prefix}{i} {make(row[0])};" for i, row in enumerate(rows))


def cases(rows):
    return [(row[0], i, row[1:]) for i, row in enumerate(rows)]


def agree(c, table, binary):
    """The same text in all regions and, where no OID of a user's type is inside, the same send format."""
    c.converged(f"SELECT * FROM public.{table} ORDER BY id")
    if binary:
        q = f"SELECT * FROM public.{table} ORDER BY id"
        first, *rest = c
        for r in rest:
            same(lambda r=r: r.copy(q, True), lambda: first.copy(q, True), f"{r.name}: {q} in binary")


def change_values(c, writer, other, table, values):
    """Insert all, rotate all, NULL one, delete one: as several statements and as one transaction."""
    n = len(values)
    binary = writer.value("SELECT typnamespace = 'pg_catalog'::regnamespace FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid "
                          f"WHERE attrelid = 'public.{table}'::regclass AND attname = 'v'")
    before = writer.value(f"SELECT coalesce(max(id), 0) FROM public.{table}")
    for i, v in enumerate(values):
        writer.sql(f"INSERT INTO public.{table} VALUES ({before + i + 1}, {v})")
    want = writer.sql(f"SELECT id, v::text FROM public.{table} ORDER BY id")
    same(lambda: other.sql(f"SELECT id, v::text FROM public.{table} ORDER BY id"), want, f"{table}: inserted values")
    agree(c, table, binary)
    rotate = "".join(f"UPDATE public.{table} SET v = {values[(i + 1) % n]} WHERE id = {before + i + 1};" for i in range(n))
    writer.sql(rotate + f"INSERT INTO public.{table} VALUES ({before + n + 1}, NULL);")
    c.barrier()
    agree(c, table, binary)
    writer.sql(f"UPDATE public.{table} SET v = NULL WHERE id = {before + 1}; DELETE FROM public.{table} WHERE id = {before + n + 1}")
    c.barrier()
    agree(c, table, binary)
    assert writer.value(f"SELECT count(*) FROM public.{table}") == before + n


@test(sql=SQL, tables=tables(VALUES, "t", lambda t: f"(id int PRIMARY KEY, v {t})"), cases=cases(VALUES), limit=90)
def values_of_two_writers(c, case):
    """a value must arrive byte for byte, from both sides"""
    _, i, values = case
    change_values(c, c.us, c.eu, f"t{i}", values)
    change_values(c, c.eu, c.us, f"t{i}", values[-1:])


@test(sql=SQL, tables=tables(VALUES, "t", lambda t: f"(id int PRIMARY KEY, v {t}, pad text DEFAULT repeat('x', 10))"), cases=cases(VALUES), limit=90,
      topology={"routes": [{"tables": ["public.*"], "from": ["us"]}, {"tables": ["public.barrier"]}]})
def values_of_one_writer(c, case):
    """the same with the default replica identity"""
    _, i, values = case

    change_values(c, c.us, c.eu, f"t{i}", values)


def change_keys(c, writer, table, values):
    for v in values:
        writer.sql(f"INSERT INTO public.{table} VALUES ({v}, 1)")
    c.barrier()
    query = f"SELECT v::text, n FROM public.{table} ORDER BY 1, 2"
    c.converged(query)
    assert len(writer.sql(query)) == len(values)
    writer.sql(f"UPDATE public.{table} SET n = n + 1")
    c.barrier()
    c.converged(query)
    for v in values:
        writer.sql(f"UPDATE public.{table} SET n = n + 10 WHERE v = {v}")
    c.barrier()
    c.converged(query)
    writer.sql(f"DELETE FROM public.{table} WHERE v = {values[0]}")
    c.barrier()
    c.converged(query)
    assert len(writer.sql(query)) == len(values) - 1
    writer.sql(f"DELETE FROM public.{table}")
    c.barrier()
    c.expect(query, [])


@test(sql=SQL, tables=tables(KEYS, "k", lambda t: f"(v {t} PRIMARY KEY, n int)"), cases=cases(KEYS), limit=60)
def keys_of_two_writers(c, case):
    """a row must be found by a key of this type, from both sides"""
    _, i, values = case
    change_keys(c, c.us, f"k{i}", values)
    change_keys(c, c.eu, f"k{i}", values)


@test(sql=SQL, tables=tables(KEYS + KEYS_OF_ONE_WRITER, "k", lambda t: f"(v {t} PRIMARY KEY, n int)"), cases=cases(KEYS + KEYS_OF_ONE_WRITER), limit=60,
      topology={"routes": [{"tables": ["public.*"], "from": ["us"]}, {"tables": ["public.barrier"]}]})
def keys_of_one_writer(c, case):
    """types that several writers may not use as key, too"""
    _, i, values = case
    change_keys(c, c.us, f"k{i}", values)


@test(sql=SQL, tables=tables(KEYS, "k", lambda t: f"(v {t} PRIMARY KEY, n int)") +
      "CREATE TABLE public.num (v numeric, w float8, n int, PRIMARY KEY (v, w)); INSERT INTO public.num VALUES (1, 0, 0);")
def equal_keys_of_unequal_bytes(c):
    """1.0 and 1.00, 0 and -0 are one row: no region may end with two, or miss it"""
    c.us.app("UPDATE num SET v = 1.00, w = '-0', n = 1 WHERE v = 1")
    c.barrier()
    c.expect("SELECT v::text, w::text, n FROM num", [("1.00", "-0", 1)])
    c.eu.app("UPDATE num SET v = 1.000, n = 2 WHERE v = 1.0")
    c.barrier()
    c.expect("SELECT v::text, w::text, n FROM num", [("1.000", "-0", 2)])
    c.us.app("DELETE FROM num WHERE v = 1 AND w = 0")
    c.barrier()
    c.expect("SELECT count(*) FROM num", [(0,)])


@test(sql=SQL, tables=USER_TYPES + "CREATE TABLE public.odd (v interval PRIMARY KEY, n int); CREATE TABLE public.ci (v public.citext PRIMARY KEY, n int)")
def keys_refused_for_two_writers(c):
    """a key whose equality is not that of its bytes is refused by name; the application's own statements go on"""
    c.us.app("INSERT INTO odd VALUES ('1 mon', 1); UPDATE odd SET n = 2; INSERT INTO ci VALUES ('a', 1); DELETE FROM ci")
    _, out, err = c.command("init", "--region", "us", "--admin", c.us.postgres.conninfo(c.us.database, "postgres"), check=None)
    assert "public.odd" in out + err and "public.ci" in out + err, out + err
    c.barrier()
    assert c.eu.sql("SELECT * FROM odd") == []
