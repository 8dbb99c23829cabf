#!/usr/bin/env bash
# Starts breakdown from the release build and waits until it is ready.
#
#   scripts/start-all.sh             one process with all roles, on the embedded log
#   scripts/start-all.sh --kafka     a process a role, on a broker: REDPANDA_BROKERS, or scripts/kafka.sh where that is unset
#
# Everything it keeps is under target/run: logs, pids, the data directory and the secrets it made. Ports are the
# defaults, and 7101 to 7103 for the admin listeners of the further processes. Stop with scripts/stop-all.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
run=target/run

die() { echo "start-all.sh: $*" >&2; exit 1; }
[[ $# -le 1 && ${1:---kafka} == --kafka ]] || die "usage: scripts/start-all.sh [--kafka]"
compgen -G "$run/*.pid" >/dev/null && die "something was started already: scripts/stop-all.sh first"

cargo build --release --locked
mkdir -p "$run"
# Secrets of this run; test-flow.sh reads them.
umask 077
cat >"$run/env" <<ENV
export GITHUB_WEBHOOK_SECRET=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export JIRA_WEBHOOK_SECRET=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export BREAKDOWN_DATA_DIR=$PWD/$run/data
ENV

start() { # name, admin port, arguments of serve
  local name=$1 port=$2
  shift 2
  # Its own session, so that a Ctrl-C meant for this script does not reach it.
  setsid target/release/breakdown serve --admin-listen "127.0.0.1:$port" "$@" >"$run/$name.log" 2>&1 </dev/null &
  echo $! >"$run/$name.pid"
}

ready() { # name, admin port
  local deadline=$((SECONDS + 60))
  until curl --silent --fail --output /dev/null --max-time 3 "http://127.0.0.1:$2/health/ready"; do
    kill -0 "$(<"$run/$1.pid")" 2>/dev/null || { cat "$run/$1.log" >&2; die "$1 ended before it was ready"; }
    ((SECONDS < deadline)) || { tail -n 20 "$run/$1.log" >&2; die "$1 is not ready after 60 s"; }
    sleep 0.2
  done
  echo "$1 is ready"
}

if [[ ${1:-} == --kafka ]]; then
  if [[ -z ${REDPANDA_BROKERS:-} ]]; then
    scripts/kafka.sh up
    touch "$run/started-kafka"
    REDPANDA_BROKERS=127.0.0.1:${BREAKDOWN_KAFKA_PORT:-19092}
  fi
  cat >>"$run/env" <<ENV
export REDPANDA_BROKERS=$REDPANDA_BROKERS
export CALENDAR_API_BASE=http://127.0.0.1:7300/api
ENV
  . "$run/env"
  start calendar-mock 7103 --roles calendar-mock
  # One after the other: the first one makes the topics.
  ready calendar-mock 7103
  start webhooks 7100 --roles webhooks
  start gateway 7101 --roles gateway
  start executor 7102 --roles executor
  ready webhooks 7100
  ready gateway 7101
  ready executor 7102
else
  . "$run/env"
  unset REDPANDA_BROKERS CALENDAR_API_BASE
  start breakdown 7100
  ready breakdown 7100
fi
