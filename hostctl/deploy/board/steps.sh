# The steps of an installation, on the board. POSIX sh; as root with a service, as the user without.
# Set by the caller: PREFIX, RELEASE, TOKEN, PYTHON, CONFIG, UNIT ("" = no service), ACCOUNT, STATE ("" = farmd's own place),
# DEVICE, ENTRY (of the catalogue, or ""), REQUIREMENT, KEEP, and the files of a step: MANIFEST, NEW_CONFIG, DEFAULT_CONFIG,
# NEW_UNIT. No path holds a blank.
# Answers are lines: "error SENTENCE", "note SENTENCE", "missing WHEEL", "log LINE", "setting KEY = VALUE", "outcome WORD [RELEASE]".
set -u
unset PYTHONPATH PYTHONHOME
PATH=$PATH:/usr/local/bin:/usr/sbin:/sbin
umask 022
cd / || exit 1   # "python -m" looks where it stands first, and somebody's home may hold a folder called farmd
RELEASES=$PREFIX/releases
HERE=$RELEASES/$RELEASE
NAME=farmd.service

fail() {
    echo "error $*"
    exit 1
}

last_line() { sed -e '/^[[:space:]]*$/d' -e '$!d' "$1" | tail -n 1; }

full() {  # whether a file of messages tells of a full disk
    grep -q -i 'no space left\|disk quota exceeded' "$1"
}

begin() {
    held=$(cat "$PREFIX/.deploy.lock" 2>/dev/null)
    [ "$held" = "$TOKEN" ] || fail "The lock on the board passed to another deployment ($held); deploy again when it has ended."
    # A step that outlived its connection holds this lock to its end: two never work on the same files.
    exec 8>"$PREFIX/.step.lock"
    waited=0
    until flock -n 8; do
        waited=$((waited + 1))
        [ "$waited" -lt 300 ] || fail "A step of a deployment that was cut off still runs on the board after 300 s; end it there, then deploy again."
        sleep 1
    done
}

# 1. What has to be sent.

same() { [ -f "$2" ] && [ "$(sha256sum <"$2")" = "$1  -" ]; }

prepare() {
    mkdir -p "$HERE/wheels" || fail "$HERE/wheels cannot be made; choose another place with --prefix."
    if [ -f "$HERE/.complete" ]; then
        echo "outcome complete"
        return
    fi
    printf '%s\n' "$MANIFEST" | while read -r sha wheel; do
        same "$sha" "$HERE/wheels/$wheel" && continue
        rm -f "$HERE/wheels/$wheel"
        reuse "$sha" "$wheel" || echo "missing $wheel"
    done
    echo "outcome prepared"
}

reuse() {  # most wheels of a new release are those of the last one
    for other in "$RELEASES"/*/wheels/"$2"; do
        same "$1" "$other" || continue
        ln "$other" "$HERE/wheels/$2" 2>/dev/null || cp "$other" "$HERE/wheels/$2" && return 0
    done
    return 1
}

# 2. A venv, made offline.

install() {
    [ -f "$HERE/.complete" ] && { echo "outcome installed"; return; }
    printf '%s\n' "$MANIFEST" | while read -r sha wheel; do
        same "$sha" "$HERE/wheels/$wheel" || fail "$wheel did not arrive whole; deploy again, which sends what is missing."
    done || exit 1
    said=$HERE/install.log
    rm -rf "$HERE/venv"
    # Without ensurepip, which Debian keeps in a package of its own: pip runs from its wheel.
    if ! { "$PYTHON" -m venv --without-pip "$HERE/venv" && pip_install; } >"$said" 2>&1; then
        if full "$said"; then
            discard
            fail "The disk of $PREFIX is full; free some room there and deploy again. What ran before runs on."
        fi
        rm -rf "$HERE/venv"
        fail "The installation into $HERE/venv failed ($(last_line "$said")); $said on the board says more."
    fi
    "$HERE/venv/bin/farmd" --version >"$said" 2>&1 || fail "The new farmd does not start ($(last_line "$said"))."
    sync
    : >"$HERE/.complete"
    echo "outcome installed"
}

discard() {  # a release that was not finished gives back its room
    [ -f "$HERE/.complete" ] || rm -rf "$HERE"
}

pip_install() {
    for wheel in "$HERE"/wheels/pip-*.whl; do
        "$HERE/venv/bin/python" "$wheel/pip" --isolated install --quiet --no-index --no-cache-dir \
            --disable-pip-version-check --no-warn-script-location --find-links "$HERE/wheels" "$REQUIREMENT"
        return
    done
}

# 3. Account, settings.

as_account() {  # as farmd will run
    if [ -n "$UNIT" ]; then su -s /bin/sh "$ACCOUNT" -c "$*"; else sh -c "$*"; fi
}

account() {
    id "$ACCOUNT" >/dev/null 2>&1 && return
    useradd --system --user-group --home-dir "$STATE" --no-create-home --shell /usr/sbin/nologin "$ACCOUNT" 2>/dev/null ||
        adduser -S -D -H -h "$STATE" -s /sbin/nologin "$ACCOUNT" >/dev/null 2>&1 ||
        fail "The account '$ACCOUNT' cannot be made on the board; make it there, or name another with --user."
    echo "note Made the account '$ACCOUNT'."
}

configure() {
    if [ -n "$UNIT" ]; then
        account
        as_account "$HERE/venv/bin/python -c pass" 2>/dev/null ||
            fail "The account '$ACCOUNT' may not run $PYTHON; give --python one outside of closed directories, or use --no-service."
    fi
    if [ -f "$CONFIG" ]; then
        [ -z "$NEW_CONFIG" ] || [ "$NEW_CONFIG" = "$(cat "$CONFIG")" ] ||
            echo "note Kept the $CONFIG that is there; it differs from yours. Move it away to have yours installed."
        check "$CONFIG"
    else
        write_settings "$CONFIG.new"
        check "$CONFIG.new"
        mv "$CONFIG.new" "$CONFIG" || fail "$CONFIG cannot be written."
        echo "note Wrote $CONFIG; it is yours from now on."
    fi
    sed -n 's/^  \([a-z_]* = \)/setting \1/p' "$HERE/check.log"
    state_directory "$(sed -n 's/^  state_dir = //p' "$HERE/check.log")"
    echo "outcome configured"
}

write_settings() {
    mkdir -p "$(dirname "$1")" && rm -f "$1" || fail "The folder of $CONFIG cannot be made."
    [ -z "$NEW_CONFIG" ] && propose "$1" && return
    printf '%s\n' "${NEW_CONFIG:-$DEFAULT_CONFIG}" >"$1" || fail "$1 cannot be written."
}

check() {
    as_account "$HERE/venv/bin/farmd --config $1 --check-config" >"$HERE/check.log" 2>&1 && return
    rm -f "$CONFIG.new"
    fail "farmd $RELEASE refuses its settings: $(last_line "$HERE/check.log" | sed "s/^farmd: //; s|$CONFIG.new|$CONFIG|g")"
}

propose() {  # settings from what this machine is; a version of farmd that cannot tell leaves it to the short ones
    said=$HERE/detect.log
    timeout 300 "$HERE/venv/bin/farmd" --detect --write "$1" --device "$DEVICE" \
        ${STATE:+--state-dir "$STATE"} ${ENTRY:+--board "$ENTRY"} >/dev/null 2>"$said" 8>&-
    [ -f "$1" ] || return 1
    sed -n -e 's/^Board: /note &/p' -e 's/^Check it: /note &/p' -e 's/^Accelerator: /note &/p' -e 's/^Missing: /note &/p' "$said"
}

state_directory() {  # one that the unit names has to be there before it starts
    [ -z "$UNIT" ] || [ -z "$1" ] || [ -d "$1" ] && return
    mkdir -p -m 0700 "$1" && chown "$ACCOUNT" "$1" || fail "The state directory $1 cannot be made; set another in $CONFIG."
}

# 4. Switching over: ends by itself on the board, whether or not anybody listens.

activate() {
    begin
    said=$HERE/activation.log
    ( trap '' HUP INT TERM PIPE; activate_"$1" ) >"$said" 2>&1 </dev/null &
    wait $!
    ended=$?
    cat "$said"
    exit "$ended"
}

point_to() {  # one rename: current is always a release
    ln -sfn "releases/$1" "$PREFIX/current.new" &&
        "$PYTHON" -c 'import os, sys; os.replace(*sys.argv[1:])' "$PREFIX/current.new" "$PREFIX/current"
}

current() { basename "$(readlink "$PREFIX/current" 2>/dev/null)" 2>/dev/null; }

system() { systemctl "$@" 8>&- 2>&1; }

is_healthy() {
    system is-active --quiet "$NAME" >/dev/null &&
        "$RELEASES/$1/venv/bin/python" -m farmd.health --config "$CONFIG" --timeout "$2" 2>&1 &&
        system is-active --quiet "$NAME" >/dev/null
}

start() {  # switch a release on, with the unit that it was installed with
    point_to "$1" || return 1
    cp "$RELEASES/$1/$NAME" "$UNIT.new" && mv "$UNIT.new" "$UNIT" || return 1
    system daemon-reload && system --quiet enable "$NAME" || return 1
    system reset-failed "$NAME" >/dev/null
    system restart "$NAME" && is_healthy "$1" 60
}

activate_service() {
    if [ -f "$UNIT" ] && [ "$NEW_UNIT" = "$(cat "$UNIT")" ] && [ "$(current)" = "$RELEASE" ] && is_healthy "$RELEASE" 20; then
        [ -f "$HERE/.good" ] || good "$RELEASE"
        echo "outcome unchanged"
        return
    fi
    save_foreign_unit
    back=$(served | grep -v -x -F "$RELEASE" | head -n 1)
    if [ "$(current)" = "$RELEASE" ] && [ -f "$HERE/.good" ] && [ "$NEW_UNIT" != "$(cat "$HERE/$NAME")" ]; then
        # Only the unit is new: the way back is the one before.
        back=$RELEASE
        cp "$HERE/$NAME" "$HERE/$NAME.old"
    fi
    printf '%s\n' "$NEW_UNIT" >"$HERE/$NAME.new" && mv "$HERE/$NAME.new" "$HERE/$NAME" || fail "$HERE/$NAME cannot be written."
    why=$(start "$RELEASE" 2>&1)
    if [ $? = 0 ]; then
        good "$RELEASE"
        prune
        echo "outcome active"
        return
    fi
    printf '%s\n' "$why" | sed 's/^/log /'
    journalctl --unit "$NAME" --lines 15 --no-pager --output cat 2>/dev/null | sed 's/^/log /'
    rm -f "$HERE/.good"
    roll_back
}

save_foreign_unit() {  # one that somebody wrote by hand is kept beside
    if [ -f "$UNIT" ] && ! grep -q '^# Written by hostctl deploy' "$UNIT"; then
        cp "$UNIT" "$UNIT.saved" && echo "note Kept the unit that was there as $UNIT.saved."
    fi
}

served() {  # the releases that have served, the last one first; by count: boards without a clock wake up in the past
    for marker in "$RELEASES"/*/.good; do
        [ -f "$marker" ] && echo "$(cat "$marker") $(basename "$(dirname "$marker")")"
    done | sort -rn | sed 's/^[0-9]* //'
}

good() {
    last=$(cat "$RELEASES"/*/.good 2>/dev/null | sort -n | tail -n 1)
    echo $((${last:-0} + 1)) >"$RELEASES/$1/.good"
}

roll_back() {
    system stop "$NAME" >/dev/null
    if [ -z "$back" ]; then
        system --quiet disable "$NAME" >/dev/null
        if [ -f "$UNIT.saved" ]; then
            mv "$UNIT.saved" "$UNIT"
            system daemon-reload
            system restart "$NAME" && echo "note The unit that was there before runs again."
        else
            rm -f "$UNIT"
            system daemon-reload
        fi
        rm -f "$PREFIX/current"
        echo "outcome failed"
        exit 1
    fi
    [ "$back" != "$RELEASE" ] || mv "$HERE/$NAME.old" "$HERE/$NAME"
    if start "$back" >"$HERE/rollback.log" 2>&1; then
        good "$back"
        echo "outcome rolled-back $back"
    else
        sed 's/^/log /' "$HERE/rollback.log"
        echo "outcome broken $back"
    fi
    exit 1
}

activate_user() {  # no service: serve for a moment at a port of its own, then switch
    trial=$(mktemp -d) || fail "The board has no room for a temporary directory; free some and deploy again."
    "$HERE/venv/bin/farmd" --config "$CONFIG" --listen 127.0.0.1:0 --state-dir "$trial/state" \
        --address-file "$trial/address" >"$trial/log" 2>&1 8>&- &
    pid=$!
    "$HERE/venv/bin/python" -m farmd.health --config "$CONFIG" --address-file "$trial/address" --pid "$pid" --timeout 60
    healthy=$?
    kill "$pid" 2>/dev/null
    wait "$pid"
    tail -n 15 "$trial/log" >"$HERE/trial.log"
    rm -rf "$trial"
    if [ "$healthy" != 0 ]; then
        sed 's/^/log /' "$HERE/trial.log"
        rm -f "$HERE/.good"
        echo "outcome rolled-back $(current)"
        exit 1
    fi
    [ "$(current)" = "$RELEASE" ] && { echo "outcome unchanged"; return; }
    good "$RELEASE"
    point_to "$RELEASE" || fail "$PREFIX/current cannot be switched."
    prune
    echo "outcome active"
}

prune() {  # keep the last few that served; what never did goes
    for release in "$RELEASES"/*/; do
        [ -f "$release/.good" ] || rm -rf "$release"
    done
    served | sed "1,${KEEP}d" | while read -r old; do
        rm -rf "${RELEASES:?}/$old" && echo "note Removed the old release $old."
    done
}

step() {
    begin
    "$1"
}
