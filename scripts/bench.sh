#!/usr/bin/env bash
# Measures Breakdown and prints a Markdown table: ingest, latencies, the gateway alone, size. It asserts nothing.
#
#   scripts/bench.sh                 about ten minutes; wants a quiet Linux machine with two cores or more
#   scripts/bench.sh --quick         one short round, to see that it runs
#   scripts/bench.sh --no-broker     the embedded log alone
#   scripts/bench.sh --clean-build   also the CPU seconds of a clean release build, in a target directory of its own
#   scripts/bench.sh --wipe          allow a broker other than that of scripts/kafka.sh: see below
#   scripts/bench.sh policy          conditions alone, beside other engines (docs/benchmarks.md): five minutes, CPU time; with --quick, one
#   scripts/bench.sh backtest        a million events through two policies of a hundred rules (docs/benchmarks.md): five minutes, 4 GB of disk;
#                                    with --quick 50,000 events
#   scripts/bench.sh peers           ingest beside servers of Node and FastAPI that do the same job: four minutes, the network the first time
#   scripts/bench.sh recovery        kill -9 with 100,000 events behind, until nothing is behind: three minutes
#   scripts/bench.sh restore         a million open issues from the changelog, and the memory they take: seven minutes, 6 GB of disk
#   scripts/bench.sh targets         ten targets, one of which hangs: two minutes
#   scripts/bench.sh cost --before COMMIT   ingest and gateway of another commit and of this one, side by side: ten minutes and two builds
#                                    (each of these five: --help)
#
# Candidates take turns within each round, in one run; the server has one core, the load another. The broker is
# REDPANDA_BROKERS, or scripts/kafka.sh, which is started where it is not running. Breakdown's topics are DELETED from the
# broker between measurements, so another broker than that of scripts/kafka.sh needs --wipe, and has to be on this machine.
#
# What each line means stands in scripts/bench/src; the lines and the logs of the servers are in target/bench.
#   BENCH_SERVER_CORE=0 BENCH_LOAD_CORE=1   the cores
#   BENCH_ROUNDS=3 BENCH_SECONDS=10         rounds, and seconds of each measurement
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${1:-} == policy ]]; then
  shift
  echo "$(date -u +%Y-%m-%dT%H:%MZ), $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1), load $(cut -d' ' -f1-3 /proc/loadavg)"
  # Criterion's own lines are dropped: the tables come last.
  cargo bench --locked --quiet --manifest-path scripts/bench-policy/Cargo.toml --target-dir target -- "$@" | sed -n '/^### /,$p'
  echo "load afterwards $(cut -d' ' -f1-3 /proc/loadavg)"
  exit
fi

case ${1:-} in
  backtest | peers | recovery | restore | targets | cost) exec "scripts/bench/$1.sh" "${@:2}" ;;
esac

# shellcheck source=scripts/bench/servers.sh
source scripts/bench/servers.sh
rounds=${BENCH_ROUNDS:-3} seconds=${BENCH_SECONDS:-10} warmup=2 events=50000 starts=5 idle=5
broker=yes clean_build='' wipe=''
for argument in "$@"; do
  case $argument in
    --quick) rounds=1 seconds=2 warmup=0.5 events=5000 starts=1 idle=1 ;;
    --no-broker) broker='' ;;
    --clean-build) clean_build=yes ;;
    --wipe) wipe=yes ;;
    *) sed -n '2,27s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
begin all
build
need_payload
if [[ -n $broker ]]; then need_broker; fi

ingest() { # candidate
  case $1 in
    read | verify) start "$1" "$bench" baseline --handler "$1" ;;
    *) serve "ingest-$1" "$1" webhooks ;;
  esac
  keep load "ingest/$1" "$seconds"
  stop
}

latencies() { # log, requests a second
  serve "actions-$1-$2" "$1" webhooks,gateway
  keep on_load "$bench" actions --label "actions/$1/$2" --url "$url" --secret bench --payload "$payload" --rate "$2" \
    --seconds "$seconds" --warmup "$warmup" --cpu-of "$pid" "${log[@]}"
  stop
}

append() { # log
  fresh "$1"
  keep on_server "$bench" append --label "append/$1" --rate 500 --seconds "$(awk "BEGIN { print $seconds / 2 }")" "${log[@]}"
}

gateway() { # log
  fresh "$1"
  keep on_server "$bench" gateway --label "gateway/$1" --events "$events" "${log[@]}"
}

logs=(embedded)
if [[ -n $broker ]]; then logs+=(broker); fi

sleep 1
machine

if [[ -n $broker ]]; then
  # A JVM that has just started is slow: it is let run before anything of it counts.
  say "warming the broker up"
  serve warmup broker webhooks
  load warmup "$seconds" >/dev/null
  stop
fi
for ((round = 1; round <= rounds; round++)); do
  for candidate in read verify "${logs[@]}"; do
    say "round $round of $rounds: ingest, $candidate"
    ingest "$candidate"
  done
  for kind in "${logs[@]}"; do
    say "round $round of $rounds: one append, $kind"
    append "$kind"
  done
  for rate in 500 2000; do
    for kind in "${logs[@]}"; do
      say "round $round of $rounds: $rate requests/s to their actions, $kind"
      latencies "$kind" "$rate"
    done
  done
  for kind in "${logs[@]}"; do
    say "round $round of $rounds: the gateway alone, $kind"
    gateway "$kind"
  done
done

if [[ -n $broker ]]; then leave_broker; fi
say "start and idle memory"
keep "$bench" resident --label resident --program "$breakdown" --starts "$starts" --idle "$idle" --work-dir "$dir"
echo "{\"label\":\"binary\",\"bytes\":$(stat -c %s "$breakdown")}" >>"$results"
machine_after

if [[ -n $clean_build ]]; then
  say "a clean release build"
  rm -rf target/bench-build
  TIMEFORMAT='%U %S'
  cpu=$({ time CARGO_TARGET_DIR=target/bench-build cargo build --release --locked --quiet >"$dir/build.txt" 2>&1; } 2>&1) \
    || { cat "$dir/build.txt" >&2; die "the clean build failed"; }
  rm -rf target/bench-build
  echo "{\"label\":\"build\",\"cpu_seconds\":$(awk '{ print $1 + $2 }' <<<"$cpu")}" >>"$results"
fi

"$bench" report "$results"
