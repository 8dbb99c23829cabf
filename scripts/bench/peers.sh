#!/usr/bin/env bash
# `scripts/bench.sh peers`: Breakdown's receiver beside a Node server (@octokit/webhooks, kafkajs) and FastAPI with aiokafka, which do
# the same job on the same broker (scripts/bench/peers). Prints a Markdown table.
#
#   --rounds 3      rounds, in each of which all take turns
#   --seconds 10    how long each is measured in a round, after two seconds that do not count
#   --quick         one round of two seconds
#   --wipe          allow a broker other than that of scripts/kafka.sh: Breakdown's topics are DELETED from it
#
# Needs node 20 and npm, python 3.11 and its venv; what the two servers are made of is fetched into target/peers.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/bench/servers.sh
source scripts/bench/servers.sh

rounds=3 seconds=10 warmup=2 wipe=''
while (($#)); do
  case $1 in
    --rounds) rounds=${2:?--rounds wants a number}; shift ;;
    --seconds) seconds=${2:?--seconds wants a number}; shift ;;
    --quick) rounds=1 seconds=2 warmup=1 ;;
    --wipe) wipe=yes ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done
for tool in node npm python3; do
  command -v "$tool" >/dev/null || die "$tool is missing"
done
begin peers
build
need_payload
need_broker

# Fetched again when what is asked for has changed.
peers=$PWD/target/peers
fetch() { # name, the file that says what is needed, command…
  local stamp=$peers/$1.stamp wanted=$2
  shift 2
  cmp --silent "$wanted" "$stamp" && return
  say "fetching what $wanted names"
  "$@" >"$dir/fetch.txt" 2>&1 || { tail -n 20 "$dir/fetch.txt" >&2; die "$wanted: cannot be fetched"; }
  cp "$wanted" "$stamp"
}
mkdir -p "$peers/node"
cp scripts/bench/peers/node/{package.json,package-lock.json,server.js} "$peers/node"
fetch node scripts/bench/peers/node/package-lock.json npm ci --prefix "$peers/node" --no-audit --no-fund
make_venv() { python3 -m venv --clear "$peers/venv" && "$peers/venv/bin/pip" install --requirement "$1"; }
fetch fastapi scripts/bench/peers/fastapi/requirements.txt make_venv scripts/bench/peers/fastapi/requirements.txt

# measure CANDIDATE SECONDS: starts it on an empty broker and puts load on it.
measure() {
  case $1 in
    breakdown) serve "$1" broker webhooks ;;
    *) fresh broker --make ;;&
    node) start "$1" node "$peers/node/server.js" 0 "$brokers" ;;
    node-plain) start "$1" node "$peers/node/server.js" 0 "$brokers" plain ;;
    fastapi) start "$1" "$peers/venv/bin/python" scripts/bench/peers/fastapi/server.py 0 "$brokers" ;;
  esac
  load "peers/$1" "$2"
  stop
}

candidates=(breakdown node node-plain fastapi)
sleep 1
machine
say "warming the broker up"
measure breakdown "$seconds" >/dev/null
for ((round = 1; round <= rounds; round++)); do
  for candidate in "${candidates[@]}"; do
    say "round $round of $rounds: $candidate"
    keep measure "$candidate" "$seconds"
    keep "$bench" kept --label "peers/$candidate/kept" "${log[@]}"
  done
done
machine_after
leave_broker
"$bench" report "$results"
