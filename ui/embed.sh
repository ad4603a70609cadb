#!/bin/bash
# embed.sh OUT.h: ui/ as one page in a C header.
#     static const char ui_page[];  #define UI_SCRIPT_HASH, UI_STYLE_HASH: what a Content-Security-Policy calls its script and its style
set -euo pipefail
cd "$(dirname "$0")"
out=$1

# sha256-<base64> of a file's bytes, without any tool but coreutils'
csp_hash() {
        local hex
        hex=$(sha256sum "$1" | cut -c1-64)
        # shellcheck disable=SC2001 # a \x before every pair
        printf 'sha256-%s' "$(printf '%b' "$(sed 's/../\\x&/g' <<<"$hex")" | base64 -w0)"
}

# The frame with style and script in the place of their marks, byte for byte.
page() {
        local line before after
        while IFS= read -r line; do
                case $line in
                *@style@*) before=${line%%@style@*} after=${line##*@style@} && printf '%s' "$before" && cat style.css && printf '%s\n' "$after" ;;
                *@script@*) before=${line%%@script@*} after=${line##*@script@} && printf '%s' "$before" && cat page.js && printf '%s\n' "$after" ;;
                *) printf '%s\n' "$line" ;;
                esac
        done <index.html
}

{
        echo "/* from ui/ */"
        echo "#define UI_SCRIPT_HASH \"$(csp_hash page.js)\""
        echo "#define UI_STYLE_HASH \"$(csp_hash style.css)\""
        echo "static const char ui_page[] ="
        page | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/        "/' -e 's/$/\\n"/'
        echo ";"
} >"$OLDPWD/$out.new"
mv "$OLDPWD/$out.new" "$OLDPWD/$out"
