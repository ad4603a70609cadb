#!/bin/bash
# kafka.sh: one real Kafka broker (KRaft, broker and controller in one process) for demo and tests, on loopback.
#     kafka.sh start DIR [PORT]   returns when it answers; the port is in DIR/kafka.port, the process in DIR/kafka.pid, output in
#                                 DIR/kafka.log.  A DIR that was started before keeps its data, and its port when none is given.
#     kafka.sh stop DIR           asks it to end and waits for the end
#     kafka.sh kill DIR           SIGKILL, as a power cut would
# DIR/listeners, when there is one, names more of them: a line each, NAME PORT ADVERTISED_PORT PROTOCOL (a proxy stands at the advertised port).
# Lines of DIR/extra.properties, when there is one, go behind our settings (the last one wins).
# PANGEA_CACHE: where scripts/deps.sh put Kafka.  KAFKA_HEAP: default 256m.  KAFKA_CLASSES: write the archive of loaded classes there
# at the end (deps.sh does, once: with it a start takes half the time and half the CPU).
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
kafka=${PANGEA_CACHE:-$root/.cache}/kafka
libs=$kafka/libs
heap=${KAFKA_HEAP:-256m}
jvm=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=WARN -cp "$libs/*")
if [ -n "${KAFKA_CLASSES:-}" ]; then
        jvm+=(-XX:ArchiveClassesAtExit="$KAFKA_CLASSES")
elif [ -e "$kafka/classes.jsa" ]; then
        jvm+=(-XX:SharedArchiveFile="$kafka/classes.jsa")
fi

usage() {
        sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
        exit 2
}

die() {
        echo "kafka.sh: $*" >&2
        exit 1
}

[ $# -ge 2 ] || usage
verb=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)

# The pid of the broker of this DIR; nothing when it is not running (a pid file may outlive its process, and the pid be given anew).
running() {
        local pid
        pid=$(cat "$dir/kafka.pid" 2>/dev/null) || return 1
        tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$dir/server.properties" || return 1
        # killed, but not yet reaped by whoever inherited it: as dead as it gets
        ! grep -q '^State:.Z' "/proc/$pid/status" 2>/dev/null || return 1
        echo "$pid"
}

# Two free ports outside the range from which the kernel serves outgoing connections: nothing takes them before we do.
free_ports() {
        python3 - "$@" <<'PY'
import random, socket, sys
got = []
while len(got) < 2:
    port = random.randrange(20000, 32000)
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
    if port not in got and str(port) not in sys.argv[1:]:
        got.append(port)
print(*got)
PY
}

write_properties() {
        local name at advertised protocol listeners='' advertise='' map=''
        while read -r name at advertised protocol; do
                listeners+=,$name://127.0.0.1:$at
                advertise+=,$name://127.0.0.1:$advertised
                map+=,$name:$protocol
        done < <(cat "$dir/listeners" 2>/dev/null || true)
        cat <<P
process.roles=broker,controller
node.id=$node
controller.quorum.voters=$node@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller$listeners
advertised.listeners=PLAINTEXT://127.0.0.1:$port$advertise
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT$map
log.dirs=$dir/data
auto.create.topics.enable=false
delete.topic.enable=true
# one broker can hold one replica
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# after SIGKILL the controller takes the broker back once its old session has ended: 9 s by default
broker.heartbeat.interval.ms=400
broker.session.timeout.ms=2000
# small: three of these run beside three PostgreSQL clusters on two cores
num.network.threads=2
num.io.threads=4
background.threads=2
log.cleaner.dedupe.buffer.size=2097152
P
        cat "$dir/extra.properties" 2>/dev/null || true
}

# any 16 bytes do as an id: no JVM for that
random_id() {
        head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '='
}

# What Kafka's own tool writes is the same for each broker but for the ids: it runs for the first one only, a second or two of a JVM.
format() {
        local id checkpoint=$kafka/bootstrap.checkpoint
        id=$(random_id)
        if [ -e "$checkpoint" ]; then
                mkdir -p "$dir/data"
                cp "$checkpoint" "$dir/data/bootstrap.checkpoint"
                printf '%s\n' version=1 "cluster.id=$id" "node.id=$node" "directory.id=$(random_id)" >"$dir/data/meta.properties"
                echo "$node" >"$dir/formatted"
                return
        fi
        java -Xmx64m "${jvm[@]}" kafka.tools.StorageTool format -t "$id" -c "$dir/server.properties" >"$dir/format.log" 2>&1 ||
                die "format failed: $(tail -n 3 "$dir/format.log")"
        # at once or not at all: several brokers are started side by side
        cp "$dir/data/bootstrap.checkpoint" "$checkpoint.$$" && mv "$checkpoint.$$" "$checkpoint"
        echo "$node" >"$dir/formatted"
}

# By its own node id: on a port that was taken somebody else would answer.
answers() {
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || return 1
        kcat -b "127.0.0.1:$port" -L -m 1 2>/dev/null | grep -q "^  broker $node at "
}

launch() {
        node=$(cat "$dir/formatted" 2>/dev/null) || node=$controller
        write_properties >"$dir/server.properties"
        [ -e "$dir/formatted" ] || format
        # a session of its own: Ctrl-C in the demo's terminal must not reach it before the demo's own clean-up does
        # shellcheck disable=SC2016  # the inner shell expands them
        setsid bash -c 'echo $$ >"$1/kafka.pid"; shift; exec "$@"' _ "$dir" \
                java -Xms64m -Xmx"$heap" "${jvm[@]}" kafka.Kafka "$dir/server.properties" </dev/null >>"$dir/kafka.log" 2>&1 &
        local child=$! deadline=$((SECONDS + 60))
        until answers; do
                kill -0 "$child" 2>/dev/null || return 1
                [ "$SECONDS" -lt "$deadline" ] || die "does not answer after 60 s; its output is in $dir/kafka.log"
                sleep 0.05
        done
}

start() {
        [ -d "$libs" ] || die "no Kafka in $libs: run make deps"
        ! running >/dev/null || die "already running for $dir (pid $(running))"
        local given=${1:-} try
        for try in 1 2 3; do
                read -r port controller < <(free_ports "$given")
                if [ -n "$given" ]; then
                        port=$given
                elif [ -e "$dir/kafka.port" ]; then
                        port=$(cat "$dir/kafka.port") # clients of before look for it there
                fi
                if launch; then
                        echo "$port" >"$dir/kafka.port"
                        return
                fi
                # the only failure that another try mends: somebody else was quicker with the port
                tail -n 30 "$dir/kafka.log" | grep -q 'Address already in use' || break
                echo "kafka.sh: port $port or $controller was taken meanwhile (try $try)" >&2
        done
        rm -f "$dir/kafka.pid"
        tail -n 5 "$dir/kafka.log" >&2
        die "did not start; its output is in $dir/kafka.log"
}

gone() {
        local deadline=$((SECONDS + $1))
        while running >/dev/null; do
                [ "$SECONDS" -lt "$deadline" ] || return 1
                sleep 0.02
        done
        rm -f "$dir/kafka.pid"
}

stop() {
        local pid
        pid=$(running) || return 0
        kill -TERM "$pid" 2>/dev/null || true
        gone 30 && return 0
        echo "kafka.sh: pid $pid did not end within 30 s of SIGTERM: SIGKILL" >&2
        kill -KILL "$pid" 2>/dev/null || true
        gone 10 || die "pid $pid does not end"
}

kill_now() {
        local pid
        pid=$(running) || return 0
        kill -KILL "$pid" 2>/dev/null || true
        gone 10 || die "pid $pid does not end"
}

case $verb in
start) start "${3:-}" ;;
stop) stop ;;
kill) kill_now ;;
*) usage ;;
esac
