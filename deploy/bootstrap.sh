#!/bin/sh
# Makes what the platform's own commands stand on.
#   sh deploy/bootstrap.sh env         .venv from requirements.lock; does nothing when the lock did not change
#   sh deploy/bootstrap.sh test-env    the same with the tests' tools: requirements-test.lock, which holds both
#   sh deploy/bootstrap.sh test-needs  programs the tests drive: a RabbitMQ server, a browser, git
# Plain sh and nothing but Debian's essential programs: it runs before anything of ours is there.
set -eu
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
can_install() { [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null 2>&1; }

# Runs a command silently; its output is shown only when it fails.
quietly() {
    _out=$(mktemp)
    if "$@" >"$_out" 2>&1 </dev/null; then
        rm -f "$_out"
    else
        _code=$?
        cat "$_out" >&2
        rm -f "$_out"
        return "$_code"
    fi
}

# A package that holds a daemon starts it when installed. The tests start their own on free ports, so the
# machine's stay down: policy-rc.d is Debian's switch for that, put there for the time of the install only.
apt_install() {
    say "Installing from Debian's packages: $* …"
    _policy=/usr/sbin/policy-rc.d
    _ours=
    if [ ! -e "$_policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$_policy"
        chmod 755 "$_policy"
        _ours=yes
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        trap 'exit 130' INT TERM
    fi
    _done=0
    quietly apt-get update -q || say "The package lists could not be renewed; going on with those that are there."
    DEBIAN_FRONTEND=noninteractive quietly apt-get install -y -q --no-install-recommends "$@" || _done=$?
    if [ -n "$_ours" ]; then
        rm -f "$_policy"
        trap - EXIT INT TERM
    fi
    return "$_done"
}

# Prints a Python 3.11 that really runs: a pyenv shim can be on the PATH with no such version behind it.
find_python() {
    for _candidate in python3.11 /usr/bin/python3.11 python3; do
        if "$_candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; then
            printf '%s' "$_candidate"
            return 0
        fi
    done
    return 1
}

# $1: the lock; $2: its stamp in .venv. An environment with the tests' tools serves `make up` as well.
make_env() {
    lock=$1
    stamp=$2
    want=$(stamp_of "$lock")
    is_current && return 0
    if command -v flock >/dev/null 2>&1; then  # two commands in one checkout: the second waits for the first
        exec 9>.venv.lock
        flock 9
        is_current && return 0
    fi

    if ! python=$(find_python); then
        can_install || fail "Python 3.11 is needed and was not found (python3.11 on the PATH)."
        apt_install python3.11 python3.11-venv || fail "Python 3.11 could not be installed."
        python=$(find_python) || fail "Python 3.11 is needed; this Debian's packages do not hold it."
    fi
    # Debian ships the venv module without ensurepip, which is in a package of its own.
    if ! "$python" -c 'import ensurepip' >/dev/null 2>&1; then
        can_install || fail "Python's venv module cannot make environments here. As root: apt-get install python3-venv"
        apt_install python3-venv || fail "python3-venv could not be installed."
    fi

    say "Making the Python environment (.venv) from $lock; the first time takes a minute …"
    rm -f ".venv/$stamp"
    if ! { .venv/bin/python -c 'import pip' && [ "$(cat .venv/place 2>/dev/null)" = "$(pwd -P)" ]; } >/dev/null 2>&1; then
        quietly "$python" -m venv --clear .venv || fail "The environment could not be made (see above)."
        pwd -P >.venv/place
    fi
    quietly .venv/bin/python -m pip install --disable-pip-version-check --no-input --no-deps --require-hashes \
        -r "$lock" || fail "The packages of $lock could not be installed (see above)."
    stamp_of "$lock" >".venv/$stamp"
    say "The Python environment is ready."
}

# The folder's name is in the stamp because a virtual environment does not survive being moved.
stamp_of() { printf '%s %s\n' "$(sha256sum <"$1" | cut -d' ' -f1)" "$(pwd -P)"; }

is_current() { [ -x .venv/bin/python ] && [ "$(cat ".venv/$stamp" 2>/dev/null)" = "$want" ]; }

test_needs() {
    missing=
    [ -e /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing="$missing rabbitmq-server"
    command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
    command -v git >/dev/null 2>&1 || missing="$missing git"
    [ -n "$missing" ] || return 0
    if can_install; then
        # Not fatal: the tests that need a missing part say so, and fail in CI.
        # shellcheck disable=SC2086  # one word a package
        apt_install $missing || say "Could not be installed:$missing. The tests that need them are skipped."
    else
        say "Missing for some tests, which are skipped:$missing (as root on Debian: apt-get install$missing)"
    fi
}

case "${1:-}" in
    env) make_env requirements.lock lock.stamp ;;
    test-env)
        make_env requirements-test.lock test-lock.stamp
        stamp_of requirements.lock >.venv/lock.stamp  # what `make up` needs is among it
        ;;
    test-needs) test_needs ;;
    *) fail "usage: sh deploy/bootstrap.sh env | test-env | test-needs" ;;
esac
