#!/usr/bin/env bash
# `scripts/bench.sh targets`: an executor with ten webhooks to carry actions to, on the embedded log: all answering, the tenth with
# nothing to do, the tenth hanging. Prints a Markdown table: actions concluded a second, and memory.
#
#   --each 4000   how many actions each target gets
#   --rounds 3    rounds, in each of which the three take turns
#   --quick       one round, 500 actions each
#
# Server and targets share all cores. A hanging target holds up the rest of a partition once 1,000 actions of that partition wait for it:
# with the projects of this bench, that is from some 5,000 each on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/bench/servers.sh
source scripts/bench/servers.sh

each=4000 rounds=3
while (($#)); do
  case $1 in
    --each) each=${2:?--each wants a number}; shift ;;
    --rounds) rounds=${2:?--rounds wants a number}; shift ;;
    --quick) each=500 rounds=1 ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done
begin targets
build

sleep 1
machine
for ((round = 1; round <= rounds; round++)); do
  for tenth in answers idles hangs; do
    say "round $round of $rounds: the tenth $tenth"
    fresh embedded
    keep "$bench" targets --label "targets/$tenth" --program "$breakdown" --each "$each" --tenth "$tenth" --work-dir "$dir" "${log[@]}"
  done
done
machine_after
"$bench" report "$results"
