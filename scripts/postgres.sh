#!/bin/bash
# One throw-away PostgreSQL for the demo and the tests: on loopback, all it owns below DIR.
set -euo pipefail

usage() {
        cat >&2 <<'END'
usage: postgres.sh start DIR [PORT] [--nofsync] [--encoding ENC] [--locale LOC] [--set name=value]..
       postgres.sh stop DIR [fast|immediate|smart]
       postgres.sh restart DIR [fast|immediate|smart]

start    makes DIR/data when it is missing, starts the server, and writes DIR/postgres.port and DIR/postgres.pid. Without PORT it keeps
         the port it had before, or takes a free one. The superuser is postgres, authentication is trust, the socket is in DIR.
         --encoding and --locale count for a new DIR/data only (UTF8, C.UTF-8). --set wins over the settings below; the options are
         remembered and hold for restart. DIR must be reachable for the user postgres when this is run by root.
PG_PRELOAD  a library that is loaded into the server (tests: another clock, a full disk)
PG_BIN   where the server's programs are (/usr/lib/postgresql/15/bin)
END
        exit 2
}

die() {
        echo "postgres.sh: $*" >&2
        exit 1
}

# The server refuses to run as root.
as_postgres() {
        if [ "$(id -u)" = 0 ]; then
                setpriv --reuid=postgres --regid=postgres --init-groups env HOME="$dir" ${PG_PRELOAD:+LD_PRELOAD="$PG_PRELOAD"} "$@"
        else
                env ${PG_PRELOAD:+LD_PRELOAD="$PG_PRELOAD"} "$@"
        fi
}

running() {
        as_postgres "$bin/pg_ctl" status -D "$data" >/dev/null 2>&1
}

free_port() {
        local port try
        for ((try = 0; try < 200; try++)); do
                port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
                if ! (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
                        echo "$port"
                        return
                fi
        done
        die "no free port between 20000 and 32000"
}

make_data() {
        mkdir -p "$dir"
        if [ "$(id -u)" = 0 ]; then
                chown postgres: "$dir"
        fi
        if [ -s "$data/PG_VERSION" ]; then
                return
        fi
        # --no-sync: a crash of the machine during a test's set-up is no concern
        as_postgres "$bin/initdb" -D "$data" -U postgres -A trust -E "$encoding" --locale="$locale" --no-sync >"$dir/initdb.log" 2>&1 ||
                die "initdb failed: $(tail -n 3 "$dir/initdb.log")"
        echo "include 'pangea.conf'" >>"$data/postgresql.conf"
}

settings() {
        cat <<END
listen_addresses = '127.0.0.1'
unix_socket_directories = '$dir'
port = $1
wal_level = logical
track_commit_timestamp = on
max_replication_slots = 20
max_wal_senders = 20
max_connections = 200
max_prepared_transactions = 10
shared_buffers = 64MB
max_wal_size = 2GB
wal_sender_timeout = 30s
log_line_prefix = '%m [%p] %a '
log_timezone = UTC
timezone = UTC
END
        printf '%s\n' "${extra[@]}"
}

start() {
        if running; then
                echo "already running, port $(cat "$dir/postgres.port")"
                return
        fi
        make_data
        local fixed=$port try
        if [ -z "$port" ] && [ -s "$dir/postgres.port" ]; then
                fixed=$(cat "$dir/postgres.port")
        fi
        for ((try = 0; try < 10; try++)); do
                port=${fixed:-$(free_port)}
                settings "$port" | as_postgres tee "$data/pangea.conf" >/dev/null
                # the log is appended to; only its new lines tell why a start failed
                local before=0
                if [ -e "$dir/postgres.log" ]; then
                        before=$(wc -l <"$dir/postgres.log")
                fi
                if as_postgres "$bin/pg_ctl" start -w -t 120 -D "$data" -l "$dir/postgres.log" >/dev/null 2>&1; then
                        echo "$port" >"$dir/postgres.port"
                        head -n 1 "$data/postmaster.pid" >"$dir/postgres.pid"
                        return
                fi
                if [ -n "$fixed" ] || ! tail -n "+$((before + 1))" "$dir/postgres.log" | grep -q 'Address already in use'; then
                        die "the server in $dir does not start: $(tail -n "+$((before + 1))" "$dir/postgres.log" | tail -n 4)"
                fi
        done
        die "no port could be taken"
}

stop() {
        if running; then
                as_postgres "$bin/pg_ctl" stop -w -t 120 -D "$data" -m "$mode" >/dev/null || die "the server in $dir does not stop"
        fi
        rm -f "$dir/postgres.pid"
}

[ $# -ge 2 ] || usage
command=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
shift 2
data=$dir/data
bin=${PG_BIN:-/usr/lib/postgresql/15/bin}
[ -x "$bin/postgres" ] || die "no PostgreSQL in $bin: apt-get install postgresql-15, or set PG_BIN"
port='' mode=fast encoding=UTF8 locale='' options=()
while [ $# -gt 0 ]; do
        case $1 in
        --nofsync) options+=("fsync = off") ;;
        --encoding) encoding=${2:-} && shift ;;
        --locale) locale=${2:-} && shift ;;
        --set) options+=("${2:?--set needs name=value}") && shift ;;
        fast | immediate | smart) mode=$1 ;;
        [0-9]*) port=$1 ;;
        *) usage ;;
        esac
        shift
done
if [ -z "$locale" ]; then
        # another encoding than the locale's is refused by initdb
        if [ "$encoding" = UTF8 ]; then locale=C.UTF-8; else locale=C; fi
fi
# full_page_writes stays on: kill -9 can tear a page even when the machine lives.  --nofsync and --set are remembered in DIR/options
if [ ${#options[@]} -gt 0 ] && [ "$command" = start ]; then
        printf '%s\n' "${options[@]}" >"$dir/options"
fi
extra=()
if [ -s "$dir/options" ]; then
        mapfile -t extra <"$dir/options"
fi

case $command in
start) start ;;
stop) stop ;;
restart)
        stop
        start
        ;;
*) usage ;;
esac
