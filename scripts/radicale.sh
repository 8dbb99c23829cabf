#!/usr/bin/env bash
# A real CalDAV server for tests and demonstrations: Radicale, on a free port of 127.0.0.1.
#
#   scripts/radicale.sh up      start it (again: say that it is up); what the last run kept is still there
#   scripts/radicale.sh url     say where it is
#   scripts/radicale.sh down    stop it; `down --wipe` deletes what it keeps, too
#   scripts/radicale.sh run     start one of its own, say where it is, and stop it when standard input ends; nothing is kept
#   scripts/radicale.sh fetch   only fetch it (from PyPI, with pip; `up` does it too)
#
# Users are breakdown, who may do everything, and alice and bo; the password of each is the name. Their calendars are
# /alice/calendar/ and /bo/calendar/; meetings are put in /team/meetings/. It listens on this machine only.
#
# BREAKDOWN_RADICALE_DIR moves data, configuration, log and pid from target/radicale; the program is always there.
set -euo pipefail

# With what it needs, all of it by version: older ones, Debian's among them, answer no free-busy query.
requirements='radicale==3.9.0 defusedxml==0.7.1 libpass==1.9.3 vobject==0.9.9 pika==1.3.2 requests==2.32.5
  python-dateutil==2.9.0.post0 pytz==2025.2 six==1.17.0 charset-normalizer==3.4.4 idna==3.11 urllib3==2.5.0 certifi==2025.10.5'
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=$root/target/radicale/venv-3.9.0
dir=${BREAKDOWN_RADICALE_DIR:-$root/target/radicale}

die() { echo "radicale.sh: $*" >&2; exit 1; }

# The pid of the server that lives in $dir, if it is alive; a pid that another program has by now is not ours.
running() {
  local pid
  [[ -s $dir/pid ]] || return 1
  pid=$(<"$dir/pid")
  [[ $(ps -o args= -p "$pid" 2>/dev/null) == *"$dir/config"* ]] && echo "$pid"
}

fetch() {
  command -v python3 >/dev/null || die "python3 is missing: install Python 3.9 or newer with venv (Debian: python3 python3-venv)"
  mkdir -p "$root/target/radicale"
  # Of two that fetch at once the second waits, and finds the first one's.
  exec 9>"$root/target/radicale/fetch.lock"
  flock 9
  if [[ ! -x $venv/bin/radicale ]]; then
    local part=$venv.part
    rm -rf "$part" "$venv"
    echo "radicale.sh: fetching Radicale with pip" >&2
    python3 -m venv "$part" >&2 || die "python3 cannot make a venv (Debian: python3-venv)"
    # shellcheck disable=SC2086
    "$part/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps $requirements >&2 || die "pip could not fetch it"
    # Whole or not at all; scripts in a venv name its place, so it is called by its module.
    mv "$part" "$venv"
  fi
  exec 9>&-
}

configure() {
  mkdir -p "$dir"
  printf 'breakdown:breakdown\nalice:alice\nbo:bo\n' >"$dir/users"
  cat >"$dir/rights" <<RIGHTS
[everything]
user: breakdown
collection: .*
permissions: RrWw
[own principal]
user: .+
collection: {user}
permissions: RW
[own]
user: .+
collection: {user}/[^/]+
permissions: rw
RIGHTS
  cat >"$dir/config" <<CONFIG
[server]
hosts = 127.0.0.1:$1
[auth]
type = htpasswd
htpasswd_filename = $dir/users
htpasswd_encryption = plain
delay = 0
[rights]
type = from_file
file = $dir/rights
[storage]
filesystem_folder = $dir/collections
[web]
type = none
CONFIG
}

free_port() {
  "$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Waits until process $1 answers on port $2, and makes the calendars that are not there.
ready() {
  "$venv/bin/python" - "$1" "$2" <<'PYTHON' || { tail -n 30 "$dir/server.log" >&2; die "Radicale did not come up: $dir/server.log"; }
import base64, http.client, os, sys, time
pid, port = int(sys.argv[1]), int(sys.argv[2])
login = {"Authorization": "Basic " + base64.b64encode(b"breakdown:breakdown").decode()}
def ask(method, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers=login)
    return connection.getresponse().status
for _ in range(300):
    os.kill(pid, 0)
    try:
        ask("OPTIONS", "/")
        break
    except OSError:
        time.sleep(0.1)
for path in ("/alice/", "/bo/", "/team/"):
    if ask("PROPFIND", path) == 404:
        assert ask("MKCOL", path) == 201, path
for path in ("/alice/calendar/", "/bo/calendar/", "/team/meetings/"):
    if ask("PROPFIND", path) == 404:
        assert ask("MKCALENDAR", path) == 201, path
PYTHON
}

serve() {
  port=$(free_port)
  configure "$port"
  nohup "$venv/bin/python" -m radicale --config "$dir/config" >>"$dir/server.log" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$dir/pid"
}

url() { sed -n 's|^hosts = |http://|p' "$dir/config"; }

up() {
  if running >/dev/null; then
    echo "radicale.sh: already up on $(url)" >&2
  else
    fetch
    serve
    ready "$pid" "$port"
    echo "radicale.sh: Radicale is up on $(url) (pid $pid, log $dir/server.log)" >&2
  fi
  url
}

down() {
  local pid
  if pid=$(running); then
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    echo "radicale.sh: stopped" >&2
  else
    echo "radicale.sh: not running" >&2
  fi
  rm -f "$dir/pid"
  if [[ ${1:-} == --wipe ]]; then rm -rf "$dir/collections" "$dir/server.log" "$dir/config" "$dir/rights" "$dir/users"; fi
}

run() {
  fetch
  dir=$(mktemp -d)
  trap 'kill "$pid" 2>/dev/null; rm -rf "$dir"' EXIT
  serve
  ready "$pid" "$port"
  url
  cat >/dev/null
}

case "${1:-}" in
  up) up ;;
  url) running >/dev/null || die "not running: scripts/radicale.sh up"; url ;;
  down) down "${2:-}" ;;
  run) run ;;
  fetch) fetch ;;
  *) sed -n '2,13s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
