/* topology: what a file is refused for, in which words and at which place. */
#include "tests/unit/topology_sample.h"

static const struct {
        const char *why, *text, *want;
} refusals[] = {
        {"the smallest", HEAD "  " US "\n", ""},
        {"three regions", THREE, ""},
        {"nothing that is required", "drain_timeout: 1s\n",
         "t:1:1: version: is missing; it must be 1\n"
         "t:1:1: cluster: is missing; it must be a name of a-z, 0-9 and _, at most 54 bytes\n"
         "t:1:1: regions: is missing; it must be a map of names (a-z, 0-9 and _, at most 31 bytes)\n"},
        {"another version", "version: 2\ncluster: shop\nregions:\n  " US "\n",
         "t:1:10: version: \"2\" is not allowed; it must be 1\n"},
        {"a cluster's name", "version: 1\ncluster: My-Shop\nregions:\n  " US "\n",
         "t:2:10: cluster: \"My-Shop\" is not allowed; it must be a name of a-z, 0-9 and _, at most 54 bytes\n"},
        {"no regions", "version: 1\ncluster: shop\nregions: {}\n", "t:3:10: regions: is empty, but 1 or more are wanted\n"},
        {"an empty region", HEAD "  us: {}\n",
         "t:4:3: regions.us.postgres: is missing; it must be a map\n"
         "t:4:3: regions.us.kafka: is missing; it must be a map\n"},
        {"a region without conninfo and brokers", HEAD "  us: {postgres: {}, kafka: {}}\n",
         "t:4:8: regions.us.postgres.conninfo: is missing; it must be text\n"
         "t:4:22: regions.us.kafka.brokers: is missing; it must be a list, each entry text\n"},
        {"a region's name", HEAD "  us-east: {postgres: {conninfo: host=a}, kafka: {brokers: [a:1]}}\n",
         "t:4:3: regions.us-east: the name is not allowed; a name is of a-z, 0-9 and _, at most 31 bytes\n"},
        {"a role", HEAD "  us: {role: laeder, postgres: {conninfo: host=a}, kafka: {brokers: [a:1]}}\n",
         "t:4:14: regions.us.role: \"laeder\" is not allowed; it must be one of leader, follower; did you mean leader?\n"},
        {"no leader", HEAD "  " AP "\n",
         "t:3:1: regions: no region is a leader, so nothing could ever be written; give one of them role: leader\n"},
        {"the slot's name is too long",
         "version: 1\ncluster: a234567890123456789012345678901234567890\nregions:\n"
         "  b234567890123456: {postgres: {conninfo: host=a}, kafka: {brokers: [a:1]}}\n",
         "t:4:3: regions.b234567890123456: makes a slot name pangea_<cluster>_<region> of 64 bytes, PostgreSQL has at most 63; shorten it or the "
         "cluster's name\n"},
        {"the slot's name just fits",
         "version: 1\ncluster: a23456789012345678901234567890123456789\nregions:\n"
         "  b234567890123456: {postgres: {conninfo: host=a}, kafka: {brokers: [a:1]}}\n",
         ""},
        {"names that join to one origin",
         HEAD "  a: {postgres: {conninfo: dbname=a}, kafka: {brokers: [a:1]}}\n"
              "  a_b: {postgres: {conninfo: dbname=b}, kafka: {brokers: [a:1]}}\n"
              "  c: {postgres: {conninfo: dbname=c}, kafka: {brokers: [a:1]}}\n"
              "  b_c: {postgres: {conninfo: dbname=d}, kafka: {brokers: [a:1]}}\n",
         "t:5:3: regions.a_b: reading c here and reading b_c in a would share the replication origin pangea_shop_a_b_c; choose names that cannot be "
         "joined to the same text\n"},

        /* databases */
        {"two regions, one database",
         HEAD "  " US "\n  eu: {postgres: {conninfo: port=5432 user=x host=US dbname=shop}, kafka: {brokers: [e:1]}}\n",
         "t:5:29: regions.eu.postgres.conninfo: is the database of region us too (\"shop\" at us:5432); each region has its own\n"},
        {"the same as URI", HEAD "  " US "\n  eu: {postgres: {conninfo: 'postgresql://x@us/shop'}, kafka: {brokers: [e:1]}}\n",
         "t:5:29: regions.eu.postgres.conninfo: is the database of region us too (\"shop\" at us:5432); each region has its own\n"},
        {"one of several hosts", HEAD "  " US "\n  eu: {postgres: {conninfo: 'host=eu,us dbname=shop'}, kafka: {brokers: [e:1]}}\n",
         "t:5:29: regions.eu.postgres.conninfo: is the database of region us too (\"shop\" at us:5432); each region has its own\n"},
        {"another port is another database",
         HEAD "  " US "\n  eu: {postgres: {conninfo: host=us dbname=shop port=5433}, kafka: {brokers: [e:1]}}\n", ""},
        {"another name is another database",
         HEAD "  " US "\n  eu: {postgres: {conninfo: host=us dbname=shop2}, kafka: {brokers: [e:1]}}\n", ""},
        {"a misspelt option", HEAD "  us: {postgres: {conninfo: host=us dbnaem=shop}, kafka: {brokers: [a:1]}}\n",
         "t:4:29: regions.us.postgres.conninfo: libpq knows no option dbnaem; did you mean dbname?\n"},
        {"an unquoted password is never shown",
         HEAD "  us: {postgres: {conninfo: host=us password=my geheim}, kafka: {brokers: [a:1]}}\n",
         "t:4:29: regions.us.postgres.conninfo: a word without \"=\"; write key=value pairs, and values with blanks as key='a b'\n"},
        {"nor when it looks like an option", HEAD "  us: {postgres: {conninfo: password=my geheim=x}, kafka: {brokers: [a:1]}}\n",
         "t:4:29: regions.us.postgres.conninfo: libpq cannot read it: invalid connection option ..\n"},
        {"nor when it came from the environment",
         HEAD "  us: {postgres: {conninfo: 'host=x ${PANGEA_TEST_SECRET}=1'}, kafka: {brokers: [a:1]}}\n",
         "t:4:29: regions.us.postgres.conninfo: libpq cannot read it once its ${NAME}s are expanded; write key=value pairs, or a URI\n"},
        {"a password in the file", HEAD "  us: {postgres: {conninfo: host=us password=geheim}, kafka: {brokers: [a:1]}}\n",
         "t:4:29: warning: regions.us.postgres.conninfo: holds a password; password_file keeps it out of this file\n"},
        {"what Pangea sets", HEAD "  us: {postgres: {conninfo: host=us replication=database}, kafka: {brokers: [a:1]}}\n",
         "t:4:29: regions.us.postgres.conninfo: replication is set by Pangea itself; remove it\n"},
        {"ports that do not fit hosts", HEAD "  us: {postgres: {conninfo: 'host=a,b,c port=1,2'}, kafka: {brokers: [a:1]}}\n",
         "t:4:29: regions.us.postgres.conninfo: 3 hosts but 2 ports; give one port, or one for each host\n"},
        {"a port that is none", HEAD "  us: {postgres: {conninfo: host=a port=70000}, kafka: {brokers: [a:1]}}\n",
         "t:4:29: regions.us.postgres.conninfo: port is not a number from 1 to 65535\n"},

        /* Kafka */
        {"brokers",
         HEAD
         "  us: {postgres: {conninfo: host=us}, kafka: {brokers: [a, 'a b:1', 'a:0', 'a:1:2', 'SSL://a:9', '[::1]:9', 'a,b:1', ':1']}}\n",
         "t:4:60: regions.us.kafka.brokers[1]: \"a b:1\" is no broker; write host:port, such as kafka-0.us:9092\n"
         "t:4:69: regions.us.kafka.brokers[2]: \"a:0\" is no broker; write host:port, such as kafka-0.us:9092\n"
         "t:4:76: regions.us.kafka.brokers[3]: \"a:1:2\" is no broker; write host:port, such as kafka-0.us:9092\n"
         "t:4:109: regions.us.kafka.brokers[6]: \"a,b:1\" is no broker; write host:port, such as kafka-0.us:9092\n"
         "t:4:118: regions.us.kafka.brokers[7]: \":1\" is no broker; write host:port, such as kafka-0.us:9092\n"},
        {"a secret property from a file that is not there",
         HEAD "  us: {postgres: {conninfo: host=us}, kafka: {brokers: [a:1], properties: {sasl.password_file: /nowhere}}}\n",
         "t:4:96: regions.us.kafka.properties.sasl.password_file: /nowhere: cannot be opened: No such file or directory\n"},
        {"a property that is a list",
         HEAD "  us: {postgres: {conninfo: host=us}, kafka: {brokers: [a:1], properties: {debug: [a]}}}\n",
         "t:4:83: regions.us.kafka.properties.debug: is a list, but text is wanted\n"},

        /* rules of conflict */
        {"a default that needs more", THREE "conflicts: {default: greatest}\n",
         "t:7:22: conflicts.default: \"greatest\" is refused: it needs the column that is compared, which is said for a table, in "
         "conflicts.tables\n"},
        {"what cannot converge",
         THREE "conflicts: {tables: {public.a: {resolver: keep_local}, public.b: {resolver: first_applied}}}\n",
         "t:7:43: conflicts.tables.public.a.resolver: \"keep_local\" is refused: each region would keep another row\n"
         "t:7:77: conflicts.tables.public.b.resolver: \"first_applied\" is refused: the order of arrival differs from region to "
         "region\n"},
        {"a column's rule for a row", THREE "conflicts: {tables: {public.a: {resolver: delta}}}\n",
         "t:7:43: conflicts.tables.public.a.resolver: \"delta\" is refused: it is a rule for columns: columns: {balance: delta}\n"},
        {"a row's rule for a column", THREE "conflicts: {tables: {public.a: {columns: {n: manual}}}}\n",
         "t:7:46: conflicts.tables.public.a.columns.n: \"manual\" is no rule for a column; it must be one of last_write_wins, greatest, "
         "least, delta, union, text_merge, text_merge_words, json_merge\n"},
        {"a misspelt rule of a column", THREE "conflicts: {tables: {public.a: {columns: {n: detla}}}}\n",
         "t:7:46: conflicts.tables.public.a.columns.n: \"detla\" is no rule for a column; it must be one of last_write_wins, greatest, "
         "least, delta, union, text_merge, text_merge_words, json_merge; did you mean delta?\n"},
        {"later_wins over what accumulates",
         THREE "conflicts: {tables: {public.a: {resolver: column_merge, delete: later_wins}}}\n",
         "t:7:22: warning: conflicts.tables.public.a: if the table has a unique key besides its key, two regions that take one value at "
         "once stop each other by name (unique_conflict) until one of the rows is changed\n"
         "t:7:65: conflicts.tables.public.a.delete: later_wins cannot converge here: what column_merge, delta, union and json_merge have "
         "put into a row cannot be taken out again; a delete wins over what it has not seen; remove this key\n"},
        {"what a resolver needs",
         THREE "conflicts:\n  tables:\n    public.a: {resolver: greatest}\n    public.b: {resolver: region_priority}\n"
               "    public.c: {resolver: sql}\n    public.d: {resolver: plugin}\n",
         "t:9:5: conflicts.tables.public.a: by is missing: greatest and least compare a column, such as by: revision\n"
         "t:10:5: conflicts.tables.public.b: order is missing: region_priority needs the regions in their order, such as order: [us, eu]\n"
         "t:11:5: conflicts.tables.public.c: function is missing: sql needs a function, such as function: public.settle\n"
         "t:12:5: conflicts.tables.public.d: path is missing: plugin needs the path of a shared object\n"},
        {"what says something to another resolver", THREE "conflicts: {tables: {public.a: {by: n, order: [us]}}}\n",
         "t:7:33: conflicts.tables.public.a.by: says something to resolver: greatest, or least only; remove it\n"
         "t:7:40: conflicts.tables.public.a.order: says something to resolver: region_priority only; remove it\n"},
        {"an order of regions that are not there, or twice",
         THREE "conflicts: {tables: {public.a: {resolver: region_priority, order: [us, xx, us]}}}\n",
         "t:7:72: conflicts.tables.public.a.order[1]: there is no region \"xx\"; the regions are ap, eu, us\n"
         "t:7:76: conflicts.tables.public.a.order[2]: stands here a second time\n"},
        {"a function and a path that are none",
         THREE "conflicts: {tables: {public.a: {resolver: sql, function: settle}, public.b: {resolver: plugin, path: x.so}}}\n",
         "t:7:58: conflicts.tables.public.a.function: \"settle\" is no function; it is written schema.function, such as public.settle\n"
         "t:7:102: conflicts.tables.public.b.path: \"x.so\" is not an absolute path, which it must be in every region\n"},
        {"a function settles the whole row",
         THREE "conflicts: {tables: {public.a: {resolver: sql, function: public.f, columns: {n: greatest}}}}\n",
         "t:7:68: conflicts.tables.public.a.columns: sql settles the whole row; remove the rules of its columns\n"},
        {"a table that is none", THREE "conflicts: {tables: {accounts: {resolver: manual}}}\n",
         "t:7:22: conflicts.tables.accounts: \"accounts\" has no schema; a table is written schema.table, such as public.accounts\n"},
        {"rules for nothing",
         THREE "routes: [{tables: [public.a]}, {tables: [public.b], from: [us]}]\n"
               "conflicts: {tables: {public.b: {resolver: manual}, public.c: {resolver: manual}}}\n",
         "t:8:22: warning: conflicts.tables.public.b: one leader writes this table, so there are no conflicts to settle\n"
         "t:8:52: warning: conflicts.tables.public.c: no route names this table, so it is not replicated\n"},

        /* not built yet */
        {"what is not built yet", THREE "durability: {quorum: 1}\n", "t:7:1: durability: is not supported yet; remove it\n"},

        /* http */
        {"addresses to listen at",
         THREE_HTTP("127.0.0.1:8300", "\"[::1]:8300\"", "localhost:1, url: 'https://pangea.us.example:8300/', rows: false"), ""},
        {"no address to listen at", HEAD "  us: {postgres: {conninfo: host=us}, kafka: {brokers: [a:1]}, http: {listen: x}}\n",
         "t:4:79: regions.us.http.listen: \"x\" is no address to listen at; write address:port, such as 127.0.0.1:8300 or [::1]:8300\n"},
        {"names and ports that cannot be listened at", THREE_HTTP("pg.us:8300", "127.0.0.1:0", "127.0.0.1:65536"),
         "t:4:79: regions.us.http.listen: \"pg.us:8300\" is no address to listen at; write address:port, such as 127.0.0.1:8300 or "
         "[::1]:8300\n"
         "t:5:79: regions.eu.http.listen: \"127.0.0.1:0\" is no address to listen at; write address:port, such as 127.0.0.1:8300 or "
         "[::1]:8300\n"
         "t:6:79: regions.ap.http.listen: \"127.0.0.1:65536\" is no address to listen at; write address:port, such as 127.0.0.1:8300 or "
         "[::1]:8300\n"},
        {"rows of a daemon that does not listen",
         HEAD "  us: {postgres: {conninfo: host=us}, kafka: {brokers: [a:1]}, http: {rows: true}}\n",
         "t:4:77: regions.us.http.rows: is of use only with http.listen beside it; add that, or remove this\n"},
        {"an address for browsers that holds more",
         HEAD "  us: {postgres: {conninfo: host=us}, kafka: {brokers: [a:1]}, http: {listen: '1.2.3.4:5', url: 'http://u:p@h/'}}\n",
         "t:4:97: regions.us.http.url: \"http://u:p@h/\" is no address for a browser; write scheme, host and port, such as "
         "https://pangea.us.example:8300\n"},

        /* standbys */
        {"standbys that fit",
         HEAD "  us: {postgres: {conninfo: host=us, wait_for_standbys: [a, 'b c']}, kafka: {brokers: [a:1]}}\n", ""},
        {"no standbys in wait_for_standbys",
         HEAD "  us: {postgres: {conninfo: host=us, wait_for_standbys: []}, kafka: {brokers: [a:1]}}\n",
         "t:4:57: regions.us.postgres.wait_for_standbys: is empty, but 1 or more are wanted\n"},
        {"names that no standby can have",
         HEAD "  us: {postgres: {conninfo: host=us, wait_for_standbys: [a, \"b\\n\", a]}, kafka: {brokers: [a:1]}}\n",
         "t:4:61: regions.us.postgres.wait_for_standbys[1]: \"b?\" is no application_name; it has 1 to 63 printable ASCII characters\n"
         "t:4:68: regions.us.postgres.wait_for_standbys[2]: stands here a second time\n"},
        {"standbys of a follower",
         HEAD "  " US "\n  eu: {role: follower, postgres: {conninfo: host=eu, wait_for_standbys: [a]}, kafka: {brokers: [a:1]}}\n",
         "t:5:73: regions.eu.postgres.wait_for_standbys: is for leaders: a follower publishes nothing; remove it\n"},

        /* routes */
        {"routes that fit",
         THREE "routes:\n- tables: [public.*]\n- {tables: [public.audit], from: [us], to: [eu], where: a > 1, columns: [id, a]}\n"
               "- {tables: [public.h], insert_only: true}\n",
         ""},
        {"no routes in routes", THREE "routes: []\n", "t:7:9: routes: is empty, but 1 or more are wanted\n"},
        {"a route without tables", THREE "routes: [{from: [us]}]\n",
         "t:7:10: routes[0].tables: is missing; it must be a list, each entry text\n"},
        {"unknown regions", THREE "routes: [{tables: [public.a], from: [uss], to: [eu, eux, us]}]\n",
         "t:7:38: routes[0].from[0]: there is no region \"uss\"; the regions are ap, eu, us; did you mean us?\n"
         "t:7:53: routes[0].to[1]: there is no region \"eux\"; the regions are ap, eu, us; did you mean eu?\n"},
        {"an unknown region is not said when a region's name is wrong",
         HEAD "  " US
              "\n  EU: {postgres: {conninfo: host=eu}, kafka: {brokers: [e:1]}}\nroutes: [{tables: [public.a], from: [eu]}]\n",
         "t:5:3: regions.EU: the name is not allowed; a name is of a-z, 0-9 and _, at most 31 bytes\n"},
        {"a region twice", THREE "routes: [{tables: [public.a], from: [us, us], to: [eu]}]\n",
         "t:7:42: routes[0].from[1]: stands here a second time\n"},
        {"a follower writes nothing", THREE "routes: [{tables: [public.a], from: [us, ap]}]\n",
         "t:7:42: routes[0].from[1]: ap is a follower, which writes nothing of its own; only leaders can be in from\n"},
        {"where with several writers", THREE "routes: [{tables: [public.a], where: x > 1}]\n",
         "t:7:31: routes[0].where: these tables are written by eu, us; a filter is for tables with one writing leader: name it with from: [..], or "
         "remove the filter\n"},
        {"columns with several writers, by a wildcard", THREE "routes: [{tables: [public.*], from: [eu, us], columns: [id]}]\n",
         "t:7:47: routes[0].columns: these tables are written by eu, us; a filter is for tables with one writing leader: name it with from: [..], or "
         "remove the filter\n"},
        {"a filter by a wildcard with one writer", THREE "routes: [{tables: [public.*], from: [eu], where: x > 1}]\n", ""},
        {"a filter without from, when there is one leader",
         HEAD "  " US "\n  " AP "\nroutes: [{tables: [public.*], where: x > 1}]\n", ""},
        {"several writers, one of them not in to", THREE "routes: [{tables: [public.a], to: [eu, ap]}]\n",
         "t:7:35: routes[0].to: us is missing; a table that several leaders write (eu, us) goes between all of them\n"},
        {"several writers, none of them in to", THREE "routes: [{tables: [public.a], to: [ap]}]\n",
         "t:7:35: routes[0].to: eu, us are missing; a table that several leaders write (eu, us) goes between all of them\n"},
        {"a route that leads nowhere", THREE "routes: [{tables: [public.a], from: [us], to: [us]}]\n",
         "t:7:47: routes[0].to: leads nowhere: us is where the changes come from\n"},
        {"a literal table in two routes", THREE "routes:\n- tables: [public.a, public.b]\n- tables: [public.b]\n",
         "t:9:12: routes[1].tables[0]: public.b stands in the route of line 8 already; a table has one route: put them together\n"},
        {"a literal table twice in one route", THREE "routes:\n- tables: [public.a, public.a]\n",
         "t:8:22: routes[0].tables[1]: public.a stands in the route of line 8 already; a table has one route: put them together\n"},
        {"two different filters",
         THREE "routes:\n- {tables: [public.b], from: [us], where: x > 1}\n- {tables: [public.b], from: [us], where: x > 2}\n",
         "t:9:13: routes[1].tables[0]: public.b stands in the route of line 8 already; a table cannot have two different filters, because its leader "
         "has one log\n"},
        {"a wildcard twice", THREE "routes:\n- tables: [public.*]\n- {tables: [public.*], insert_only: true}\n",
         "t:9:13: routes[1].tables[0]: public.* stands in the route of line 8 already; a table has one route: put them together\n"},
        {"a wildcard that a later one hides", THREE "routes:\n- tables: [public.log_*]\n- {tables: [public.*]}\n",
         "t:8:12: warning: routes[0].tables[0]: public.log_* has no effect: the last wildcard that matches wins, and public.* in line 9 matches all of "
         "it; put the wider one first\n"},
        {"the wide one first", THREE "routes:\n- tables: ['*.*']\n- {tables: [public.*]}\n- {tables: [public.log_*]}\n", ""},
        {"names of tables",
         THREE
         "routes: [{tables: [accounts, a.b.c, 'a b.c', pg_catalog.pg_class, pangea.meta, information_schema.x, 'a.\"b', '.a']}]\n",
         "t:7:20: routes[0].tables[0]: \"accounts\" has no schema; a table is written schema.table, such as public.accounts\n"
         "t:7:30: routes[0].tables[1]: \"a.b.c\" is no table; a table is written schema.table or \"my schema\".\"my.table\", with * for any text\n"
         "t:7:37: routes[0].tables[2]: \"a b.c\" is no table; a table is written schema.table or \"my schema\".\"my.table\", with * for any text\n"
         "t:7:46: routes[0].tables[3]: \"pg_catalog.pg_class\" is in a schema of PostgreSQL or of Pangea itself, which are not replicated\n"
         "t:7:67: routes[0].tables[4]: \"pangea.meta\" is in a schema of PostgreSQL or of Pangea itself, which are not replicated\n"
         "t:7:80: routes[0].tables[5]: \"information_schema.x\" is in a schema of PostgreSQL or of Pangea itself, which are not replicated\n"
         "t:7:102: routes[0].tables[6]: \"a.\"b\" is no table; a table is written schema.table or \"my schema\".\"my.table\", with * for any text\n"
         "t:7:110: routes[0].tables[7]: \".a\" is no table; a table is written schema.table or \"my schema\".\"my.table\", with * for any text\n"},
        /* links */
        {"links that fit",
         THREE "links: [{log: us, at: eu, mirror: true}, {log: us, at: ap, via: eu}, {log: ap, at: us, topic: ap.shop-1_x}]\n", ""},
        {"via a copy that somebody else makes", THREE "links: [{log: us, at: eu, topic: x}, {log: us, at: ap, via: eu}]\n", ""},
        {"a link of regions that are not there", THREE "links: [{log: uss, at: eux, mirror: true}, {log: us, at: eu, via: a}]\n",
         "t:7:15: links[0].log: there is no region \"uss\"; the regions are ap, eu, us; did you mean us?\n"
         "t:7:24: links[0].at: there is no region \"eux\"; the regions are ap, eu, us; did you mean eu?\n"
         "t:7:67: links[1].via: there is no region \"a\"; the regions are ap, eu, us; did you mean ap?\n"},
        {"a link without its ends", THREE "links: [{mirror: true}]\n",
         "t:7:9: links[0].log: is missing; it must be a name of a-z, 0-9 and _, at most 31 bytes\n"
         "t:7:9: links[0].at: is missing; it must be a name of a-z, 0-9 and _, at most 31 bytes\n"},
        {"a region mirrors its own log", THREE "links: [{log: us, at: us, mirror: true}]\n",
         "t:7:23: links[0].at: a region reads its own log in its own Kafka; remove the link\n"},
        {"a link that says nothing", THREE "links: [{log: us, at: eu}, {log: us, at: ap, mirror: false}]\n",
         "t:7:9: links[0]: says nothing; give it mirror: true, via or topic, or remove it\n"
         "t:7:28: links[1]: says nothing; give it mirror: true, via or topic, or remove it\n"},
        {"more than one way in a link", THREE "links: [{log: us, at: eu, mirror: true, topic: x}]\n",
         "t:7:9: links[0]: mirror, via and topic exclude each other; keep one of them\n"},
        {"two links for one reader", THREE "links:\n- {log: us, at: eu, mirror: true}\n- {log: us, at: eu, topic: x}\n",
         "t:9:3: links[1]: how eu reads the log of us is said in line 8 already; there is one way for each log and reader\n"},
        {"a via that leads nowhere", THREE "links: [{log: us, at: ap, via: eu}]\n",
         "t:7:32: links[0].via: leads nowhere: eu does not mirror the log of us; add {log: us, at: eu, mirror: true}\n"},
        {"a via to the mirror of another log", THREE "links: [{log: ap, at: eu, mirror: true}, {log: us, at: ap, via: eu}]\n",
         "t:7:65: links[1].via: leads nowhere: eu does not mirror the log of us; add {log: us, at: eu, mirror: true}\n"},
        {"a via a via",
         THREE "  us2: {postgres: {conninfo: host=u2}, kafka: {brokers: [u2:1]}}\n"
               "links: [{log: us, at: eu, mirror: true}, {log: us, at: ap, via: eu}, {log: us, at: us2, via: ap}]\n",
         "t:8:94: links[2].via: ap reads the log via eu itself; a via must lead to the region that mirrors it, say via: eu\n"},
        {"a via in a circle",
         THREE "  us2: {postgres: {conninfo: host=u2}, kafka: {brokers: [u2:1]}}\n"
               "links: [{log: us, at: eu, via: ap}, {log: us, at: ap, via: eu}]\n",
         "t:8:32: links[0].via: ap reads the log via eu itself; a via must lead to the region that mirrors it, say via: eu\n"
         "t:8:60: links[1].via: eu reads the log via ap itself; a via must lead to the region that mirrors it, say via: ap\n"},
        {"via itself, and via where it is anyway", THREE "links: [{log: us, at: eu, via: eu}, {log: us, at: ap, via: us}]\n",
         "t:7:32: links[0].via: a region cannot read via itself; use mirror: true or topic\n"
         "t:7:60: links[1].via: the log's own region is where it is read anyway; remove the link\n"},
        {"topics that are none",
         THREE "links: [{log: us, at: eu, topic: 'a b'}, {log: ap, at: eu, topic: ..}, {log: eu, at: us, topic: shop.us.log}]\n",
         "t:7:34: links[0].topic: \"a b\" is no name of a Kafka topic; it is made of a-z, A-Z, 0-9, '.', '_' and '-', at most 249 bytes\n"
         "t:7:67: links[1].topic: \"..\" is no name of a Kafka topic; it is made of a-z, A-Z, 0-9, '.', '_' and '-', at most 249 bytes\n"
         "t:7:97: links[2].topic: is us's own log, it cannot be a copy of eu's\n"},
        {"a mirror within one Kafka",
         HEAD
         "  " US
         "\n  eu: {postgres: {conninfo: host=eu}, kafka: {brokers: ['e:1', 'us:1']}}\nlinks: [{log: us, at: eu, mirror: true}]\n",
         "t:6:27: links[0].mirror: us and eu have broker us:1 in common: the mirror would write into the log that it reads; regions that "
         "share a Kafka need no mirror, remove the link\n"},
        {"a mirror of records that are too large for it",
         HEAD "  us: {postgres: {conninfo: host=us}, kafka: {brokers: [us:1], properties: {message.max.bytes: 5000000}}}\n  " AP
              "\ngroup: {max_bytes: 2MB}\nlinks: [{log: us, at: ap, mirror: true}]\n",
         "t:6:20: group.max_bytes: does not fit into one message of region ap's Kafka (message.max.bytes is 1000000); make it smaller, or "
         "set message.max.bytes in the region's kafka.properties and allow it in the brokers\n"},
        {"columns", THREE "routes: [{tables: [public.a], from: [us], columns: [a, a, '']}]\n",
         "t:7:56: routes[0].columns[1]: stands here a second time\n"
         "t:7:59: routes[0].columns[2]: is empty, but text is wanted\n"},

        /* limits */
        {"min_insync above replication", THREE "log: {replication: 2, min_insync: 3}\n",
         "t:7:35: log.min_insync: min_insync (3) must not be greater than replication (2)\n"},
        {"the default min_insync above replication", THREE "log: {replication: 1}\n",
         "t:7:20: log.replication: min_insync (2, the default) must not be greater than replication (1)\n"},
        {"a group larger than a message", THREE "group: {max_bytes: 1MB}\n",
         "t:7:20: group.max_bytes: does not fit into one message of region eu's Kafka (message.max.bytes is 1000000); make it smaller, or set "
         "message.max.bytes in the region's kafka.properties and allow it in the brokers\n"},
        {"ranges",
         THREE
         "clock: {max_skew: 2d}\ngroup: {max_rows: 0, max_bytes: 9MB}\nlog: {retention: 0s}\ndrain_timeout: 2h\nconflicts: {keep: 90}\n",
         "t:7:19: clock.max_skew: \"2d\" is not allowed; it must be a duration from 1ms to 1d (ms s min h d)\n"
         "t:8:19: group.max_rows: \"0\" is not allowed; it must be a whole number from 1 to 100000\n"
         "t:8:33: group.max_bytes: \"9MB\" is not allowed; it must be a size from 1kB to 8MB (B kB MB GB)\n"
         "t:9:18: log.retention: \"0s\" is not allowed; it must be a duration from 1s to 36500d (ms s min h d)\n"
         "t:10:16: drain_timeout: \"2h\" is not allowed; it must be a duration from 100ms to 1h (ms s min h d)\n"
         "t:11:19: conflicts.keep: \"90\" is not allowed; it must be a duration from 1s to 36500d (ms s min h d); did you mean 90s?\n"},
        {"unknown keys on each level",
         HEAD
         "  us: {rol: leader, postgres: {conninfo: host=us, passwordfile: x}, kafka: {brokers: [a:1], propertys: {}}}\n"
         "routes: [{table: [public.a], tables: [public.a]}]\nclock: {skew: 1s}\ngroup: {rows: 1}\nlog: {min_insink: 1}\nconflicts: {kep: 1d}\n",
         "t:4:8: regions.us.rol: is no key of this map; allowed are role, postgres, kafka, http; did you mean role?\n"
         "t:4:51: regions.us.postgres.passwordfile: is no key of this map; allowed are conninfo, password_file, wait_for_standbys; did you mean password_file?\n"
         "t:4:93: regions.us.kafka.propertys: is no key of this map; allowed are brokers, properties; did you mean properties?\n"
         "t:5:11: routes[0].table: is no key of this map; allowed are tables, from, to, where, columns, insert_only; did you mean tables?\n"
         "t:6:9: clock.skew: is no key of this map; allowed are max_skew\n"
         "t:7:9: group.rows: is no key of this map; allowed are max_rows, max_bytes\n"
         "t:8:7: log.min_insink: is no key of this map; allowed are replication, min_insync, retention; did you mean min_insync?\n"
         "t:9:13: conflicts.kep: is no key of this map; allowed are default, tables, keep; did you mean keep?\n"},
};

static void every_fault_has_its_message(void **state)
{
        (void)state;
        int bad = 0;
        for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
                struct topology *t;
                char *got = said(refusals[i].text, &t);
                if (strcmp(got, refusals[i].want) != 0) {
                        fprintf(stderr, "%s:\nwant %sgot  %s\n", refusals[i].why, refusals[i].want, got);
                        bad++;
                }
                free(got);
                topology_free(t);
        }
        assert_int_equal(bad, 0);
}

/* The words are librdkafka's, so only the place and that no value is shown are held here. */
static void properties_are_checked_by_librdkafka(void **state)
{
        (void)state;
        static const struct {
                const char *property, *where;
        } t[] = {{"sasl.pasword: geheim", "t:4:76: regions.us.kafka.properties.sasl.pasword: "},
                 {"security.protocol: geheim", "t:4:76: regions.us.kafka.properties.security.protocol: "},
                 {"security.protocol: \"${PANGEA_TEST_SECRET}\"", "t:4:76: regions.us.kafka.properties.security.protocol: "},
                 {"bootstrap.servers: geheim", "t:4:76: regions.us.kafka.properties.bootstrap.servers: "},
                 {"acks: 1", "t:4:76: regions.us.kafka.properties.acks: "},
                 {"socket.timeout.ms: 1", "t:4:76: regions.us.kafka.properties.socket.timeout.ms: "}};
        for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
                char text[400];
                struct topology *out;
                snprintf(text, sizeof text,
                         HEAD "  us: {postgres: {conninfo: host=us}, kafka: {brokers: [a], properties: {  %s}}}\n", t[i].property);
                char *got = said(text, &out);
                assert_null(out);
                if (strncmp(got, t[i].where, strlen(t[i].where)) != 0 || strstr(got, "geheim"))
                        fail_msg("%s: %s", t[i].property, got);
                free(got);
        }
}

int main(void)
{
        topology_environment();
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_fault_has_its_message),
                cmocka_unit_test(properties_are_checked_by_librdkafka),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
