#!/bin/bash
# debezium.sh DIR: Kafka Connect and Debezium (PostgreSQL source, JDBC sink) from Maven Central, for `make bench`, in DIR; quick when all is there.
# Libraries of Connect in DIR/libs, the two plug-ins in DIR/plugins, versions in DIR/COMPLETE.
set -euo pipefail

[ $# = 1 ] || {
        sed -n '2,3s/^# \{0,1\}//p' "$0" >&2
        exit 2
}
dir=$1

kafka=4.1.1 # as in deps.sh: the broker's
log4j=2.25.1
source_version=3.7.0.Final
sink_version=3.6.0.Final
# Maven Central gives no checksum beside these two archives: what was fetched when this was written
source_sha=660673cbabd2f269da21409208ebd0f0d9977bd92e824fc9daa272f240e88e51
sink_sha=c23af8d416f0f801ffb0271b1a8fd9b5360ff8d66b0dd650e066bb56ecfddc05
stamp="kafka $kafka log4j $log4j debezium-connector-postgres $source_version debezium-connector-jdbc $sink_version"

say() {
        echo "debezium: $*" >&2
}

pom() {
        local a
        echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        echo '<groupId>pangea</groupId><artifactId>connect-for-bench</artifactId><version>1</version><dependencies>'
        for a in "org.apache.kafka connect-runtime $kafka" "org.apache.kafka connect-json $kafka" "org.apache.logging.log4j log4j-slf4j-impl $log4j"; do
                # shellcheck disable=SC2086  # three words
                printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n' $a
        done
        echo '</dependencies></project>'
}

# Maven fetches again what failed: a registry may be slow for a moment.
fetch() {
        local left=3
        while ((left--)); do
                if mvn -B "$@" >"$tmp/mvn.log" 2>&1; then
                        return
                fi
        done
        tail -n 20 "$tmp/mvn.log" >&2
        say "Maven could not fetch it: is https://repo.maven.apache.org reachable from here?"
        exit 1
}

mkdir -p "$(dirname "$dir")"
exec 9>"$dir.lock"
flock 9 # two benches at once: the second finds everything there
[ "$(cat "$dir/COMPLETE" 2>/dev/null)" != "$stamp" ] || exit 0
say "assembling Kafka Connect $kafka, Debezium $source_version and its JDBC sink $sink_version from Maven Central into $dir"
tmp=$dir.new
rm -rf "$tmp"
mkdir -p "$tmp/plugins"
pom >"$tmp/pom.xml"
cd "$tmp"
fetch dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$tmp/libs"
plugin() {
        local file=$1-$2-plugin.tar.gz
        fetch dependency:copy -Dartifact="io.debezium:$1:$2:tar.gz:plugin" -DoutputDirectory="$tmp/archive"
        sha256sum --quiet -c <<<"$3  $tmp/archive/$file" || {
                say "$file is not the one this was written with"
                exit 1
        }
        tar -xzf "$tmp/archive/$file" -C "$tmp/plugins"
}

plugin debezium-connector-postgres "$source_version" "$source_sha"
plugin debezium-connector-jdbc "$sink_version" "$sink_sha"
rm -rf "$tmp/archive" "$tmp/mvn.log"
echo "$stamp" >"$tmp/COMPLETE"
rm -rf "$dir"
mv "$tmp" "$dir"
