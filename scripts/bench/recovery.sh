#!/usr/bin/env bash
# `scripts/bench.sh recovery`: `serve` is killed (`kill -9`) at work, events pile up, and it is started again. How long until it is ready,
# and until nothing is behind; each event must then have its one action. Prints a Markdown table.
#
#   --behind 100000   how many events are behind when it starts
#   --rounds 3        rounds, in each of which both logs take turns
#   --quick           one round, 10,000 events
#   --no-broker       the embedded log alone
#   --wipe            allow a broker other than that of scripts/kafka.sh: Breakdown's topics are DELETED from it
#
# Server and broker share all cores. On a broker the killed member's session (10 s) has to end first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/bench/servers.sh
source scripts/bench/servers.sh

behind=100000 rounds=3 broker=yes wipe=''
while (($#)); do
  case $1 in
    --behind) behind=${2:?--behind wants a number}; shift ;;
    --rounds) rounds=${2:?--rounds wants a number}; shift ;;
    --quick) behind=10000 rounds=1 ;;
    --no-broker) broker='' ;;
    --wipe) wipe=yes ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done
begin recovery
build
logs=(embedded)
if [[ -n $broker ]]; then
  need_broker
  logs+=(broker)
fi

sleep 1
machine
for ((round = 1; round <= rounds; round++)); do
  for kind in "${logs[@]}"; do
    say "round $round of $rounds: $kind"
    fresh "$kind"
    keep "$bench" recovery --label "recovery/$kind" --program "$breakdown" --behind "$behind" --work-dir "$dir" "${log[@]}"
  done
done
machine_after
if [[ -n $broker ]]; then leave_broker; fi
"$bench" report "$results"
