#!/bin/bash
# deps.sh: everything a fresh Debian 12 needs to build, lint and test Pangea: Debian packages that are missing, and in .cache (which
# `make clean` keeps) real Apache Kafka (KRaft) assembled once from Maven Central, Debian's Prometheus, what looks at the page in
# Chromium, and what checks deploy/kubernetes (deps_kubernetes.sh).  Quiet and quick when nothing is missing.
#     PANGEA_CACHE   another cache directory (default: .cache beside this checkout's Makefile)
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${PANGEA_CACHE:-$root/.cache}

build='gcc make libc6-dev pkg-config libpq-dev librdkafka-dev libyaml-dev libcmocka-dev libjansson-dev libxxhash-dev libisal-dev libmicrohttpd-dev libsystemd-dev libgmp-dev'
lint='clang libclang-rt-14-dev clang-tidy clang-format cppcheck shellcheck'
tests='openssl postgresql-15 openjdk-17-jre-headless maven kcat python3 python3-psycopg2 python3-yaml valgrind procps groff-base zsh fish chromium graphviz'
deploy='golang-go python3-venv systemd strace debhelper lintian mmdebstrap buildah'

kafka_version=4.1.1
log4j_version=2.25.1
playwright=1.49.1
axe=4.10.2
mermaid=10.9.1
page_stamp="playwright-core $playwright axe-core $axe"
stamp="kafka $kafka_version log4j $log4j_version"

say() {
        echo "deps: $*" >&2
}

as_root() {
        if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing_packages() {
        local installed p
        # shellcheck disable=SC2086  # lists of words
        installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $build $lint $tests $deploy 2>/dev/null || true)
        command -v node >/dev/null || echo nodejs
        command -v npm >/dev/null || echo npm # in Debian's nodejs it is a package of its own, in others' it is not
        for p in $build $lint $tests $deploy; do
                grep -qx "$p installed" <<<"$installed" || echo "$p"
        done
}

no_main_cluster=/etc/postgresql-common/createcluster.d/pangea-deps.conf

# Debian's postgresql-15 makes a cluster of its own on installation and starts it on port 5432; the tests make theirs.  The setting
# lives only as long as the installation: what was there before, and what the owner installs later, is not ours to change.
install_packages() {
        say "installing $*"
        if [[ " $* " == *" postgresql-15 "* ]]; then
                trap 'as_root rm -f "$no_main_cluster"' EXIT
                as_root mkdir -p "${no_main_cluster%/*}"
                echo 'create_main_cluster = false' | as_root tee "$no_main_cluster" >/dev/null
        fi
        local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
        local log
        log=$(mktemp)
        # the lists may be absent (container images) or too old to be served any more: fetch them anew when the first try fails
        if ! as_root "${apt[@]}" install --no-install-recommends "$@" >"$log" 2>&1; then
                as_root "${apt[@]}" update >"$log" 2>&1 || true
                if ! as_root "${apt[@]}" install --no-install-recommends "$@" >>"$log" 2>&1; then
                        cat "$log" >&2
                        rm -f "$log"
                        say "apt-get could not install: $*"
                        exit 1
                fi
        fi
        rm -f "$log"
        as_root rm -f "$no_main_cluster"
}

kafka_pom() {
        local a
        echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        echo '<groupId>pangea</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><dependencies>'
        for a in "org.apache.kafka kafka_2.13 $kafka_version" "org.apache.kafka kafka-tools $kafka_version" \
                "org.apache.logging.log4j log4j-slf4j-impl $log4j_version"; do
                # shellcheck disable=SC2086  # three words
                printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n' $a
        done
        echo '</dependencies></project>'
}

# Assembled beside its place and moved there whole: whoever finds the stamp finds everything.
assemble_kafka() {
        say "assembling Apache Kafka $kafka_version from Maven Central into $cache/kafka"
        local tmp="$cache/kafka.new"
        rm -rf "$tmp"
        mkdir -p "$tmp"
        kafka_pom >"$tmp/pom.xml"
        local log="$tmp/mvn.log" try
        for try in 1 2 3; do
                if (cd "$tmp" && mvn -B -C dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=libs) >"$log" 2>&1; then
                        break
                elif [ "$try" = 3 ]; then
                        tail -n 20 "$log" >&2
                        say "Maven could not fetch Apache Kafka: is https://repo.maven.apache.org reachable from here?"
                        exit 1
                fi
        done
        if ! compgen -G "$tmp/libs/kafka-server-*.jar" >/dev/null; then
                say "Maven gave no kafka-server jar; its output is in $log"
                exit 1
        fi
        rm -f "$log"
        echo "$stamp" >"$tmp/COMPLETE"
        rm -rf "$cache/kafka"
        mv "$tmp" "$cache/kafka"
}

# prometheus and promtool, unpacked beside Kafka: installed as a package it would be a service of this machine, which nobody asked for.
unpack_prometheus() {
        say "unpacking Debian's prometheus into $cache/prometheus"
        local tmp="$cache/prometheus.new"
        rm -rf "$tmp"
        mkdir -p "$tmp"
        if ! (cd "$tmp" && apt-get -qq download prometheus) >"$tmp/log" 2>&1; then
                as_root apt-get -qq update >>"$tmp/log" 2>&1 || true
                if ! (cd "$tmp" && apt-get -qq download prometheus) >>"$tmp/log" 2>&1; then
                        cat "$tmp/log" >&2
                        say "apt-get could not download prometheus"
                        exit 1
                fi
        fi
        dpkg-deb -x "$tmp"/prometheus_*.deb "$tmp"
        rm -f "$tmp"/prometheus_*.deb "$tmp/log"
        rm -rf "$cache/prometheus"
        mv "$tmp" "$cache/prometheus"
}

# What drives Chromium and judges the page in tests/page: Playwright without browsers of its own, and axe-core.
fetch_page_tools() {
        say "playwright-core and axe-core from the npm registry into $cache/page"
        local tmp="$cache/page.new"
        rm -rf "$tmp"
        mkdir -p "$tmp"
        if ! (cd "$tmp" && npm install --no-audit --no-fund --ignore-scripts --no-save "playwright-core@$playwright" "axe-core@$axe") >"$tmp/log" 2>&1; then
                tail -n 20 "$tmp/log" >&2
                say "npm could not fetch them: is https://registry.npmjs.org reachable from here?"
                exit 1
        fi
        echo "$page_stamp" >"$tmp/COMPLETE"
        rm -rf "$cache/page"
        mv "$tmp" "$cache/page"
}

# What draws `pangea topology --format mermaid` in tests/page: the one file of it that a browser takes, of the dozens of packages that it is built from.
fetch_mermaid() {
        say "mermaid from the npm registry into $cache/mermaid"
        local tmp="$cache/mermaid.new"
        rm -rf "$tmp"
        mkdir -p "$tmp"
        if ! (cd "$tmp" && npm pack --silent "mermaid@$mermaid") >"$tmp/log" 2>&1; then
                tail -n 20 "$tmp/log" >&2
                say "npm could not fetch it: is https://registry.npmjs.org reachable from here?"
                exit 1
        fi
        tar -xzf "$tmp"/mermaid-*.tgz -C "$tmp" --strip-components=2 package/dist/mermaid.min.js
        rm -f "$tmp"/mermaid-*.tgz "$tmp/log"
        echo "mermaid $mermaid" >"$tmp/COMPLETE"
        rm -rf "$cache/mermaid"
        mv "$tmp" "$cache/mermaid"
}

# What a broker loads, as the JVM wants to find it.  Only a saving: without it, or under another JVM, a broker starts slower.
archive_classes() {
        local dir
        dir=$(mktemp -d)
        if KAFKA_CLASSES="$dir/classes.jsa" "$root/scripts/kafka.sh" start "$dir" >"$dir/out" 2>&1; then
                "$root/scripts/kafka.sh" stop "$dir" >>"$dir/out" 2>&1 || true
        fi
        if [ -s "$dir/classes.jsa" ]; then
                cp "$dir/classes.jsa" "$cache/kafka/classes.new"
                mv "$cache/kafka/classes.new" "$cache/kafka/classes.jsa"
        else
                say "no archive of Kafka's classes could be made (brokers start slower): $(tail -n 2 "$dir/out")"
        fi
        rm -rf "$dir"
}

mkdir -p "$cache"
exec 9>"$cache/deps.lock"
flock 9 # two makes at once: the second finds everything there

mapfile -t missing < <(missing_packages)
[ "${#missing[@]}" = 0 ] || install_packages "${missing[@]}"
[ "$(cat "$cache/kafka/COMPLETE" 2>/dev/null)" = "$stamp" ] || {
        assemble_kafka
        archive_classes 9>&-
}
[ -x "$cache/prometheus/usr/bin/promtool" ] || unpack_prometheus
[ "$(cat "$cache/page/COMPLETE" 2>/dev/null)" = "$page_stamp" ] || fetch_page_tools
[ "$(cat "$cache/mermaid/COMPLETE" 2>/dev/null)" = "mermaid $mermaid" ] || fetch_mermaid
"$root/scripts/deps_kubernetes.sh" "$cache" 9>&-
