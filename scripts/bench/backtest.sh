#!/usr/bin/env bash
# `scripts/bench.sh backtest`: what `breakdown policy backtest` costs on an embedded log, on one core and on two. Prints a Markdown table.
#
#   --quick      50,000 events instead of a million
#   --program F  measures this `breakdown` instead of building one
#   BENCH_ROUNDS=3   rounds; the median counts
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() { echo "bench.sh backtest: $*" >&2; exit 1; }
say() { echo "bench.sh backtest: [$SECONDS s] $*" >&2; }

events=1000000 rounds=${BENCH_ROUNDS:-3} program=''
while (($#)); do
  case $1 in
    --quick) events=50000 rounds=1 ;;
    --program) program=${2:?--program names a file}; shift ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
  shift
done
command -v taskset >/dev/null || die "taskset is missing"

target=${CARGO_TARGET_DIR:-$PWD/target}
say "building"
if [[ -z $program ]]; then
  cargo build --release --locked -p breakdown -p bench
  program=$target/release/breakdown
else
  cargo build --release --locked -p bench
fi
bench=$target/release/bench
dir=$(mktemp -d "$target/bench-backtest.XXXXXX")
trap 'rm -rf "$dir"' EXIT
results=$dir/results.ndjson
load_average() { cut -d' ' -f1-3 /proc/loadavg; }

load_before=$(load_average)
# How many issues, and of how many events: memory is to follow the one and not the other.
for size in "5000 $events" "50000 $events" "50000 $((events / 2))" "200000 $events"; do
  read -r issues of <<<"$size"
  issues=$((issues * events / 1000000))
  data=$dir/data policies=$dir/policies
  rm -rf "$data"
  say "$of events about $issues issues"
  "$bench" history --data-dir "$data" --policies "$policies" --events "$of" --issues "$issues" >&2
  for cores in 0 0,1; do
    taskset -c "$cores" "$bench" backtest --program "$program" --data-dir "$data" --policies "$policies" --rounds "$rounds" >>"$results"
  done
done

echo "$(date -u +%Y-%m-%dT%H:%MZ), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1), $(nproc) cores, load $load_before before, $(load_average) after, $rounds rounds"
echo
"$bench" backtest-table "$results"
