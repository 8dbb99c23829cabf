#!/usr/bin/env bash
# Torments real processes: kills, pauses, outages and a misbehaving calendar, under signed and forged deliveries; then lets
# everything settle and checks the logs. Prints the tables; exit 1 when a checker found anything. scripts/torture/src/main.rs says more.
#
#   scripts/torture.sh [--log embedded|kafka] [--nodes N] [--seed N] [--events 10000] [--minutes M] [--faults F]
#
#   --log      embedded (default): one process of all roles. kafka: a process a role, two gateways and two executors, and a broker
#              of its own (scripts/kafka.sh, on free ports)
#   --nodes    how many nodes that broker has (1); each of its faults befalls one of them
#   --seed     the same seed, events, minutes and faults make the same deliveries and faults again
#   --minutes  how long deliveries and faults take (one for each 1,000 deliveries); settling takes at most five more. Below five
#              minutes, outages of the broker are of 12 s instead of a minute
#   --faults   how many (one for each 100 deliveries, ten at least)
#
# TORTURE_PROFILE=release runs the release build. All files are in a directory under target/torture, which is kept, and named, when
# something was found, and always with TORTURE_KEEP=1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ ${1:-} == --help || ${1:-} == -h ]] && { sed -n '2,18s/^# \{0,1\}//p' "$0"; exit; }

profile=${TORTURE_PROFILE:-dev}
target=${CARGO_TARGET_DIR:-$PWD/target}
built=$target/$([[ $profile == dev ]] && echo debug || echo "$profile")
cargo build --quiet --locked --profile "$profile" -p breakdown -p torture

mkdir -p target/torture
dir=$(mktemp -d "$PWD/target/torture/run-XXXXXX")
code=1 harness=''
tidy() {
  # What the harness could not end itself, should somebody have killed it: only what runs in this directory.
  local file pid
  for file in "$dir"/*.pid "$dir"/kafka/pid "$dir"/kafka/node-*/pid; do
    [[ -s $file ]] || continue
    pid=$(<"$file")
    if [[ $(readlink "/proc/$pid/cwd") == "$dir" || $(tr '\0' ' ' <"/proc/$pid/cmdline") == *"$dir/kafka/"* ]]; then
      kill -9 "$pid" || true
    fi
  done 2>/dev/null
  if [[ $code == 0 && -z ${TORTURE_KEEP:-} ]]; then rm -rf "$dir"; else echo "torture.sh: everything is kept in $dir" >&2; fi
}
trap tidy EXIT
trap 'kill "$harness" 2>/dev/null || true; wait "$harness" || true; code=130; exit 130' INT TERM

# In the background, so that a signal for this script is heard before the harness ends.
"$built/torture" --program "$built/breakdown" --scripts "$PWD/scripts" --directory "$dir" "$@" &
harness=$!
code=0
wait "$harness" || code=$?
exit "$code"
