#!/usr/bin/env bash
# `scripts/bench.sh restore`: `serve` is started on the log of many open issues. How long until all of them are known and new events are
# decided, and how much memory it takes. Prints a Markdown table.
#
#   --issues 1000000   how many open issues, each with its event's id, which is remembered for seven days
#   --rounds 3         starts on the same log
#   --quick            50,000 issues, one start
#   --no-broker        the embedded log alone
#   --wipe             allow a broker other than that of scripts/kafka.sh: Breakdown's topics are DELETED from it
#
# A million issues take 3 GB of disk on each log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/bench/servers.sh
source scripts/bench/servers.sh

issues=1000000 rounds=3 broker=yes wipe=''
while (($#)); do
  case $1 in
    --issues) issues=${2:?--issues wants a number}; shift ;;
    --rounds) rounds=${2:?--rounds wants a number}; shift ;;
    --quick) issues=50000 rounds=1 ;;
    --no-broker) broker='' ;;
    --wipe) wipe=yes ;;
    *) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done
begin restore
build
logs=(embedded)
if [[ -n $broker ]]; then
  need_broker
  logs+=(broker)
fi

sleep 1
machine
for kind in "${logs[@]}"; do
  say "$issues issues, $kind"
  fresh "$kind"
  keep "$bench" restore --label "restore/$kind" --program "$breakdown" --issues "$issues" --rounds "$rounds" --work-dir "$dir" "${log[@]}"
done
machine_after
if [[ -n $broker ]]; then leave_broker; fi
"$bench" report "$results"
