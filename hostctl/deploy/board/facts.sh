# Tells what is on a board, a "fact KEY VALUE" a line; changes nothing. POSIX sh, no root.
# Set by the caller: PREFIX ("" = below the user's home), SERVICE (yes or no), CHOSEN (a Python, or "").
set -u
unset PYTHONPATH PYTHONHOME
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin
ROOT=${WATTFARM_ROOT:-}   # where this board's /etc, /opt, /run and /var lie: another root inside of a container

fact() { printf 'fact %s %s\n' "$1" "$2"; }

existing() {  # the nearest directory above a path that exists
    place=$1
    until [ -d "$place" ]; do place=$(dirname "$place"); done
    printf '%s' "$place"
}

libc() {
    if version=$(getconf GNU_LIBC_VERSION 2>/dev/null) && [ -n "$version" ]; then
        fact libc "$version"
    else  # musl's ldd writes "musl libc (aarch64)" and "Version 1.2.4" on stderr, and fails
        version=$(ldd --version 2>&1 | sed -n 's/^Version \([0-9.]*\).*/\1/p')
        [ -n "$version" ] && fact libc "musl $version"
    fi
}

privileges() {
    if [ "$(id -u)" = 0 ]; then
        fact privileges root
    elif sudo -n true 2>/dev/null; then
        fact privileges sudo
    else
        fact privileges none
    fi
}

PROBE='
import os, struct, sys, sysconfig
def has(name):
    try:
        __import__(name)
    except Exception:
        return "no"
    return "yes"
print("fact python " + "|".join([
    sys.executable or sys.argv[1], os.path.realpath(sys.executable), ".".join(str(part) for part in sys.version_info[:3]),
    sysconfig.get_config_var("SOABI") or "", str(struct.calcsize("P") * 8), has("venv"), has("ensurepip")]))
'

pythons() {
    if [ -n "$CHOSEN" ]; then
        set -- "$CHOSEN"
    else
        set -- "$PREFIX/python/bin/python3" python3 python3.13 python3.12 python3.11 python3.14 \
            /usr/local/bin/python3.* /opt/*/bin/python3 "$HOME"/.pyenv/versions/*/bin/python3 \
            "$HOME"/.local/share/uv/python/*/bin/python3
    fi
    for name; do
        path=$(command -v "$name" 2>/dev/null) || continue
        # Commands that only say which version is not selected, or that are no Python, have no answer.
        "$path" -c "$PROBE" "$path" 2>/dev/null </dev/null || :
    done
}

installed() {
    fact free_kib "$(df -Pk "$(existing "$PREFIX")" 2>/dev/null | awk 'NR == 2 {print $4}')"
    [ -L "$PREFIX/current" ] && fact current "$(basename "$(readlink "$PREFIX/current")")"
    for marker in "$PREFIX"/releases/*/.complete; do
        [ -f "$marker" ] && fact release "$(basename "$(dirname "$marker")")"
    done
}

groups_here() {
    [ -r "$ROOT/etc/group" ] || return 0
    while IFS=: read -r group _; do fact group "$group"; done <"$ROOT/etc/group"
}

main() {
    if [ "$SERVICE" = yes ]; then
        PREFIX=$ROOT$PREFIX
    elif [ -z "$PREFIX" ]; then
        PREFIX=$HOME/.local/share/wattfarm
    fi
    fact prefix "$PREFIX"
    fact root "$ROOT"
    fact system "$(uname -s)"
    fact machine "$(uname -m)"
    fact host "$(uname -n)"
    fact user "$(id -un)"
    libc
    privileges
    [ -d "$ROOT/run/systemd/system" ] && command -v systemctl >/dev/null && fact systemd yes
    for tool in awk cat df flock grep id mv readlink rm sed sha256sum sleep sort tail tar timeout; do
        command -v "$tool" >/dev/null || fact lacks "$tool"
    done
    groups_here
    installed
    pythons
    fact end yes
}

main </dev/null   # nothing that runs here may eat the rest of the script, which is on stdin
