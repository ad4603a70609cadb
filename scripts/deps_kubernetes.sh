#!/bin/bash
# deps_kubernetes.sh CACHE: what tests/deploy needs to check deploy/kubernetes without a cluster, once, into CACHE/kubernetes:
#     bin/kustomize      by Go's module proxy: the kustomize inside Debian's kubectl is older than components
#     venv/              kubernetes-validate from PyPI, which carries the schemas of many Kubernetes versions
#     compose-spec.json  the schema of compose files (deploy/compose)
#     crd/               the resource definitions of the operators in the examples, as their own releases have them
set -euo pipefail

kustomize=v5.0.3 # the newest that Debian's Go 1.19 builds
validate=1.37.0
cloudnative_pg=v1.26.0
prometheus_operator=v0.83.0
strimzi=0.45.0
compose=v2.4.9

cache=$1
dir=$cache/kubernetes
stamp="kustomize $kustomize validate $validate cnpg $cloudnative_pg prometheus $prometheus_operator strimzi $strimzi compose $compose"
[ "$(cat "$dir/COMPLETE" 2>/dev/null)" != "$stamp" ] || exit 0

new=$dir.new
log=$new/log
rm -rf "$new"
mkdir -p "$new/bin" "$new/crd" "$new/tmp"
echo "deps: kustomize $kustomize, kubernetes-validate and the schemas of three operators, into $dir" >&2

fail() {
        tail -n 20 "$log" >&2
        echo "deps: $*" >&2
        exit 1
}

# Debian's own Go, whatever else is in PATH: what built once builds again
go() {
        env -u GOROOT GOPATH="$new/tmp/go" GOCACHE="$new/tmp/go-build" GOBIN="$(realpath "$new/bin")" GOFLAGS='-modcacherw -p=2' GOTOOLCHAIN=local \
                /usr/bin/go "$@"
}

schemas_of_go_module() { # MODULE FILE..
        go mod download "$1" >>"$log" 2>&1 || fail "Go's module proxy did not give $1: is https://proxy.golang.org reachable from here?"
        local file
        for file in "${@:2}"; do
                cp "$new/tmp/go/pkg/mod/$1/$file" "$new/crd/"
        done
}

# Strimzi's definitions are printed by a program of its own from the classes of its release
schemas_of_strimzi() {
        local a
        {
                echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
                echo '<groupId>pangea</groupId><artifactId>strimzi-for-tests</artifactId><version>1</version><dependencies>'
                for a in api crd-generator; do
                        echo "<dependency><groupId>io.strimzi</groupId><artifactId>$a</artifactId><version>$strimzi</version></dependency>"
                done
                echo '</dependencies></project>'
        } >"$new/tmp/pom.xml"
        (cd "$new/tmp" && mvn -B -q dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=libs) >>"$log" 2>&1 ||
                fail "Maven could not fetch Strimzi $strimzi: is https://repo.maven.apache.org reachable from here?"
        local model=io.strimzi.api.kafka.model
        java -cp "$new/tmp/libs/*" io.strimzi.crdgenerator.CrdGenerator --yaml "$model.kafka.Kafka=$new/crd/strimzi-kafka.yaml" \
                "$model.nodepool.KafkaNodePool=$new/crd/strimzi-nodepool.yaml" "$model.user.KafkaUser=$new/crd/strimzi-user.yaml" \
                >>"$log" 2>&1 || fail "Strimzi's generator failed"
}

go install "sigs.k8s.io/kustomize/kustomize/v5@$kustomize" >>"$log" 2>&1 ||
        fail "kustomize could not be built: is https://proxy.golang.org reachable from here?"
# the venv is used from its final place: its scripts would name the other one, so only its python is called
/usr/bin/python3 -m venv "$new/venv" >>"$log" 2>&1
"$new/venv/bin/python" -m pip install -q "kubernetes-validate==$validate" >>"$log" 2>&1 || fail "pip could not install kubernetes-validate $validate"
schemas_of_go_module "github.com/cloudnative-pg/cloudnative-pg@$cloudnative_pg" config/crd/bases/postgresql.cnpg.io_clusters.yaml
schemas_of_go_module "github.com/prometheus-operator/prometheus-operator@$prometheus_operator" \
        example/prometheus-operator-crd/monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml
schemas_of_strimzi
schemas_of_go_module "github.com/compose-spec/compose-go/v2@$compose" schema/compose-spec.json
mv "$new/crd/compose-spec.json" "$new/"

rm -rf "$new/tmp" "$log"
echo "$stamp" >"$new/COMPLETE"
rm -rf "$dir"
mv "$new" "$dir"
