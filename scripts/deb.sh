#!/bin/bash
# deb.sh: builds the Debian package of what is in this working tree (files that git knows) into build/deb, with debhelper; prints its name.
# The binary is built anew there, as a release.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^#define PANGEA_VERSION "\(.*\)"$/\1/p' base/version.h)
said=$(sed -n '1s/^pangea (\(.*\)) .*/\1/p' deploy/debian/changelog)
if [ "$version" != "$said" ]; then
        echo "deb: base/version.h says $version, deploy/debian/changelog $said: write an entry for the version" >&2
        exit 1
fi

dir=build/deb/pangea-$version
rm -rf build/deb
mkdir -p "$dir"
git ls-files -z -- . ':!tests' ':!bench' ':!.ci' | xargs -0 cp --parents -t "$dir"
cp -r deploy/debian "$dir/debian"
cp deploy/systemd/sysusers.conf "$dir/debian/pangea.sysusers"
cp deploy/systemd/tmpfiles.conf "$dir/debian/pangea.tmpfiles"

# what a make above this one set is not for the package
if ! (cd "$dir" && env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL dpkg-buildpackage -us -uc -b -j2) >build/deb/log 2>&1; then
        tail -n 40 build/deb/log >&2
        echo "deb: the package was not built; all of it: build/deb/log" >&2
        exit 1
fi
ls build/deb/*.deb
