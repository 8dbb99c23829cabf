#!/usr/bin/env bash
# `scripts/bench.sh cost --before COMMIT`: signed ingest and the gateway alone, of another commit and of this tree, side by side. Prints a
# Markdown table.
#
#   --before COMMIT    what to compare with; built in a worktree and a target directory of its own under target/before
#   --rounds 5         rounds, in each of which both take turns
#   --seconds 8        how long ingest is measured in a round, after two seconds that do not count
#   --events 50000     how many events go through the gateway in a round
#   --quick            one round, two seconds, 5,000 events
#   --no-broker        the embedded log alone
#   --wipe             allow a broker other than that of scripts/kafka.sh: Breakdown's topics are DELETED from it
#
# Requests come from this tree's load generator for both. The gateway runs inside `bench`, so each has its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/bench/servers.sh
source scripts/bench/servers.sh

before='' rounds=5 seconds=8 warmup=2 events=50000 broker=yes wipe=''
while (($#)); do
  case $1 in
    --before) before=${2:?--before wants a commit}; shift ;;
    --rounds) rounds=${2:?--rounds wants a number}; shift ;;
    --seconds) seconds=${2:?--seconds wants a number}; shift ;;
    --events) events=${2:?--events wants a number}; shift ;;
    --quick) rounds=1 seconds=2 warmup=1 events=5000 ;;
    --no-broker) broker='' ;;
    --wipe) wipe=yes ;;
    *) sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done
before=$(git rev-parse --verify --quiet "$before^{commit}") || die "--before names no commit"
begin cost
build
worktree=$PWD/target/before/source built=$PWD/target/before/target
say "building $(git log -1 --format='%h, %s' "$before")"
if [[ -d $worktree ]]; then
  git -C "$worktree" checkout --quiet --detach "$before"
else
  git worktree prune
  git worktree add --quiet --detach "$worktree" "$before"
fi
# A build directory that is set for this tree is not for another.
(cd "$worktree" && CARGO_BUILD_BUILD_DIR=$built CARGO_TARGET_DIR=$built cargo build --release --locked -p breakdown -p bench)
need_payload
logs=(embedded)
if [[ -n $broker ]]; then
  need_broker
  logs+=(broker)
fi

# use before|after: sets the program that `serve` starts, and the bench that the gateway runs in.
after_breakdown=$breakdown
use() {
  if [[ $1 == before ]]; then
    breakdown=$built/release/breakdown gateway=$built/release/bench
  else
    breakdown=$after_breakdown gateway=$bench
  fi
}
ingest() { # before|after, log
  use "$1"
  serve "ingest-$1-$2" "$2" webhooks
  load "cost/$1/ingest/$2" "$seconds"
  stop
}
# What an older bench does not say of the CPU time is taken from outside; filling is in it, the same for both.
gateway() { # before|after, log
  local line cpu
  use "$1"
  fresh "$2"
  TIMEFORMAT='%U %S'
  cpu=$({ time on_server "$gateway" gateway --label "cost/$1/gateway/$2" --events "$events" "${log[@]}" >"$dir/line.json"; } 2>&1 | tail -n1) || die "bench gateway: $cpu"
  line=$(<"$dir/line.json")
  awk -v line="${line%\}}" -v cpu="$cpu" -v events="$events" \
    'BEGIN { split(cpu, part); printf "%s,\"process_cpu_us\":%.2f}\n", line, (part[1] + part[2]) * 1e6 / events }'
}

sleep 1
machine
fact cost/before commit "$(git rev-parse --short "$before")"
fact cost/after commit "$(git describe --always --dirty --exclude '*')"
if [[ -n $broker ]]; then
  say "warming the broker up"
  use after
  serve warmup broker webhooks
  load warmup "$seconds" >/dev/null
  stop
fi
for ((round = 1; round <= rounds; round++)); do
  turns=(before after)
  if ((round % 2 == 0)); then turns=(after before); fi
  for what in ingest gateway; do
    for kind in "${logs[@]}"; do
      for which in "${turns[@]}"; do
        say "round $round of $rounds: $what, $kind, $which"
        keep "$what" "$which" "$kind"
      done
    done
  done
done
machine_after
if [[ -n $broker ]]; then leave_broker; fi
"$bench" report "$results"
