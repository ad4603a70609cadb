#!/bin/bash
# image.sh: builds the container image with buildah, without a daemon or an engine, and leaves it as an OCI archive: build/image/pangea.tar.
#     BASE=IMAGE     what the recipe begins from (docker.io/library/debian:bookworm-slim)
#     BASE=debootstrap   where no registry can be reached: a Debian of the same content, made by mmdebstrap and imported under that name
set -euo pipefail
cd "$(dirname "$0")/.."

base=${BASE:-docker.io/library/debian:bookworm-slim}
version=$(sed -n 's/^#define PANGEA_VERSION "\(.*\)"$/\1/p' base/version.h)
out=build/image
store=$(mktemp -d)
buildah=(buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs)
log=$out/log
mkdir -p "$out"
# buildah's own files are removed by buildah: some belong to other users
trap '"${buildah[@]}" rm --all >/dev/null 2>&1 || true; "${buildah[@]}" rmi --all --force >/dev/null 2>&1 || true; rm -rf --one-file-system "$store"' EXIT

fail() {
        tail -n 30 "$log" >&2
        echo "image: $*; all of it: $log" >&2
        exit 1
}

if [ "$base" = debootstrap ]; then
        base=localhost/debian:bookworm-slim
        mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
                --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$store/debian.tar" >"$log" 2>&1 || fail "mmdebstrap failed"
        c=$("${buildah[@]}" from scratch)
        "${buildah[@]}" add --quiet "$c" "$store/debian.tar" / >>"$log" 2>&1 || fail "the base could not be imported"
        "${buildah[@]}" config --cmd bash "$c"
        "${buildah[@]}" commit --quiet --rm "$c" "$base" >>"$log" 2>&1 || fail "the base could not be imported"
        rm "$store/debian.tar"
fi

"${buildah[@]}" build --isolation chroot --pull=missing --build-arg "BASE=$base" --file deploy/container/Containerfile \
        --ignorefile deploy/container/Containerfile.dockerignore --tag "localhost/pangea:$version" . >>"$log" 2>&1 || fail "the image was not built"
rm -f "$out/pangea.tar"
"${buildah[@]}" push --quiet "localhost/pangea:$version" "oci-archive:$out/pangea.tar:pangea:$version" >>"$log" 2>&1 || fail "the image was not written"
ls -l "$out/pangea.tar"
