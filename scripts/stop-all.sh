#!/usr/bin/env bash
# Stops what scripts/start-all.sh started, letting it drain, and removes target/run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
run=target/run

# Receivers first, the calendar last: nothing new comes in, and the executor can finish.
for name in breakdown webhooks gateway executor calendar-mock; do
  [[ -s $run/$name.pid ]] || continue
  pid=$(<"$run/$name.pid")
  kill -TERM "$pid" 2>/dev/null || { echo "$name had stopped by itself; its log ends:"; tail -n 5 "$run/$name.log"; continue; }
  deadline=$((SECONDS + 40))
  while kill -0 "$pid" 2>/dev/null; do
    ((SECONDS < deadline)) || { echo "$name does not stop; killing it" >&2; kill -KILL "$pid"; break; }
    sleep 0.1
  done
  echo "$name stopped"
done
if [[ -e $run/started-kafka ]]; then scripts/kafka.sh down; fi
rm -rf "$run"
