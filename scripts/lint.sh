#!/bin/bash
# What a compiler does not check. Each step prints what it found; exit 1 when any found something.
#   scripts/lint.sh [includes|headers|vendor|tidy|cppcheck|shell|python|format]..      without arguments: all but format
# shellcheck disable=SC2317 # the steps are called by name
set -u
cd "$(dirname "$0")/.." || exit 1
shopt -s nullglob

dirs='base change postgres kafka config topology conflict capture apply daemon'
read -ra cppflags <<<"-I. -Ibuild -Ibuild/gen -D_GNU_SOURCE $(pkg-config --cflags libpq rdkafka yaml-0.1 jansson libxxhash libisal libmicrohttpd libsystemd gmp)"
sources=() hdrs=() found=0
for d in $dirs; do
        sources+=("$d"/*.c)
        hdrs+=("$d"/*.h)
done

complain() {
        echo "$*"
        found=1
}

# Prints what comes in; true when nothing did.
none() {
        ! grep .
}

# What each folder may include: base <- change, postgres, kafka, config <- topology, conflict <- capture, apply <- daemon.
# conflict knows no connection, topology no capture; capture and apply never include each other.
allowed() {
        case $1 in
        base) echo base ;;
        change | postgres | kafka | config) echo "base change $1" ;;
        topology) echo "base change postgres kafka config topology" ;;
        conflict) echo "base change conflict" ;;
        capture | apply) echo "base change postgres kafka config topology conflict $1" ;;
        daemon) echo "$dirs" ;;
        esac
}

includes() {
        local dir file line target may
        for dir in $dirs; do
                may=" $(allowed "$dir") "
                for file in "$dir"/*.[ch]; do
                        while IFS=: read -r line target; do
                                case $target in
                                gen/*_sql.h | *_sql.h | ui_page.h) ;; # generated
                                */*) [[ $may == *" ${target%%/*} "* ]] || complain "$file:$line: $dir may not include $target" ;;
                                *) complain "$file:$line: \"$target\": include by path from the root" ;;
                                esac
                        done < <(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*"\([^"]*\)".*/\1/;T;=;p' "$file" | paste -d: - -)
                done
        done
}

# A vendor's header has one home, so that what wraps it can be exchanged or mocked in one place.
vendor() {
        local header home
        while read -r header home; do
                grep -nE "#[[:space:]]*include[[:space:]]*<([a-z0-9/._-]*/)?$header>" "${sources[@]}" "${hdrs[@]}" |
                        grep -v "^$home/" | while read -r hit; do echo "$hit: $header belongs to $home/"; done
        done <<'END' | none || found=1
libpq-fe.h postgres
libpq-events.h postgres
rdkafka.h kafka
yaml.h config
gmp.h conflict
sd-daemon.h daemon
microhttpd.h daemon
END
}

headers() {
        local h
        for h in "${hdrs[@]}"; do
                # twice: the guard works
                printf '#include "%s"\n#include "%s"\ntypedef int nothing_else;\n' "$h" "$h" |
                        gcc -std=c11 -Wall -Wextra -Werror "${cppflags[@]}" -fsyntax-only -x c - || complain "$h: does not compile alone"
        done
}

tidy() {
        printf '%s\n' "${sources[@]}" |
                xargs -P 2 -n 4 sh -c 'clang-tidy --quiet "$@" -- -std=c11 '"${cppflags[*]}"' 2>/dev/null; true' tidy |
                grep -E 'error:|warning:' | sort -u | none || found=1
}

# cppcheck sees one file at a time: what only the whole program could tell is left to the compiler and the sanitizers
cpp_check() {
        cppcheck --quiet --std=c11 --language=c -j 2 --enable=warning,performance,portability --inline-suppr -I. -D_GNU_SOURCE --include=/usr/include/jansson.h \
                --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --suppress=unmatchedSuppression \
                --error-exitcode=1 --template='{file}:{line}: {severity}: {message} [{id}]' "${sources[@]}" || found=1
}

shell() {
        # shellcheck disable=SC2046
        shellcheck $(git ls-files '*.sh') .ci/run || found=1
}

python() {
        local f
        while read -r f; do
                /usr/bin/python3 - "$f" <<'END' || found=1
import ast, sys
ast.parse(open(sys.argv[1]).read(), sys.argv[1])
END
        done < <(git ls-files '*.py')
}

format() {
        clang-format --dry-run --Werror "${sources[@]}" "${hdrs[@]}" || found=1
}

[ $# -gt 0 ] || set -- includes vendor headers shell python cppcheck tidy
for step in "$@"; do
        echo "lint: $step" >&2
        case $step in
        includes | vendor | headers | tidy | shell | python | format) "$step" ;;
        cppcheck) cpp_check ;;
        *) complain "lint.sh: no step named $step" ;;
        esac
done
[ $found = 0 ] && echo "lint: clean" >&2
exit $found
