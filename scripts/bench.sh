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

if [[ ${1:-} == backtest ]]; then
  shift
  exec scripts/bench/backtest.sh "$@"
fi

die() { echo "bench.sh: $*" >&2; exit 1; }
say() { echo "bench.sh: [$SECONDS s] $*" >&2; }

rounds=${BENCH_ROUNDS:-3} seconds=${BENCH_SECONDS:-10} warmup=2 events=50000 starts=5 idle=5
broker=yes clean_build='' wipe=''
for argument in "$@"; do
  case $argument in
    --quick) rounds=1 seconds=2 warmup=0.5 events=5000 starts=1 idle=1 ;;
    --no-broker) broker='' ;;
    --clean-build) clean_build=yes ;;
    --wipe) wipe=yes ;;
    *) sed -n '2,21s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
server_core=${BENCH_SERVER_CORE:-0} load_core=${BENCH_LOAD_CORE:-1}
for tool in taskset curl cargo; do
  command -v "$tool" >/dev/null || die "$tool is missing"
done
taskset -c "$server_core,$load_core" true 2>/dev/null || die "cores $server_core and $load_core are not both there"

dir=$PWD/target/bench
results=$dir/results.ndjson
rm -rf "$dir"
mkdir -p "$dir"
# An empty configuration, so that nobody's breakdown.toml is read.
: >"$dir/breakdown.toml"
# Nothing but what is said here reaches the servers under test.
brokers=${REDPANDA_BROKERS:-}
for variable in $(compgen -e | grep -E '^(REDPANDA_|BREAKDOWN_(DATA|POLICY|WEBHOOKS|ADMIN|CALENDAR)|CALENDAR_API_BASE$|PROJECT_ID$)'); do
  unset "$variable"
done
export GITHUB_WEBHOOK_SECRET=bench

pids=()
started_kafka=''
tidy() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  if [[ -n $started_kafka ]]; then scripts/kafka.sh down --wipe || true; fi
  rm -rf "$dir"/data.*
}
trap tidy EXIT

say "building"
cargo build --release --locked -p breakdown -p bench
bench=$PWD/target/release/bench
breakdown=$PWD/target/release/breakdown
on_server() { taskset -c "$server_core" "$@"; }
on_load() { taskset -c "$load_core" "$@"; }
keep() { "$@" >>"$results"; }

payload=$dir/payload.json
if scripts/fetch-webhook-examples.sh >&2; then
  index=$(ls -t target/octokit/webhooks-examples-*/api.github.com/index.json | head -n1)
  "$bench" payload --from "$index" --out "$payload" >&2
  payload_name="$(stat -c %s "$payload") bytes, issues.opened of @octokit/webhooks-examples"
else
  "$bench" payload --from samples/deliveries/github-issue-opened-triage.json --out "$payload" >&2
  payload_name="$(stat -c %s "$payload") bytes, samples/deliveries/github-issue-opened-triage.json lengthened"
fi

if [[ -n $broker ]]; then
  port=${BREAKDOWN_KAFKA_PORT:-19092}
  broker_name="$brokers"
  if [[ -z $brokers || $brokers == "127.0.0.1:$port" ]]; then
    # `up` says so where the broker has been up before; then it is not ours to stop.
    scripts/kafka.sh up 2>"$dir/kafka.txt" >/dev/null || { cat "$dir/kafka.txt" >&2; die "no broker; --no-broker does without"; }
    grep -q 'already up' "$dir/kafka.txt" || started_kafka=yes
    brokers=$(sed -n 's/.* on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$dir/kafka.txt")
    broker_name="Apache Kafka, one JVM"
  else
    [[ -n $wipe ]] || die "Breakdown's topics on $brokers would be deleted: say --wipe if that is right"
  fi
fi
empty_broker() { "$bench" wipe --brokers "$brokers"; }

# start NAME COMMAND…: starts a server on its core and waits until it listens; sets pid and url.
start() {
  local name=$1 tries
  shift
  : >"$dir/$name.out"
  # Not through a function: pid has to be the server's own.
  taskset -c "$server_core" "$@" >"$dir/$name.out" 2>"$dir/$name.err" &
  pid=$!
  pids+=("$pid")
  for ((tries = 0; tries < 300; tries++)); do
    kill -0 "$pid" 2>/dev/null || { cat "$dir/$name.out" "$dir/$name.err" >&2; die "$name ended while starting"; }
    url=$(sed -n 's|^ *webhooks  *\(http://[^ ]*\).*|\1/github/issues|p' "$dir/$name.out")
    if [[ -n $url ]]; then
      # The baselines have no health; of a server, readiness counts: its partitions are assigned.
      admin=$(sed -n 's|^ *admin  *\(http://[^ ]*\).*|\1|p' "$dir/$name.out")
      if [[ -z $admin ]] || curl --silent --fail --output /dev/null "$admin/health/ready"; then return; fi
    fi
    sleep 0.1
  done
  tail -n 20 "$dir/$name.out" "$dir/$name.err" >&2
  die "$name is not ready after 30 s"
}
stop() {
  kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  pids=()
}

# serve NAME LOG ROLES: breakdown on an empty log; sets log to the flag by which others find it.
serve() {
  local name=$1 kind=$2 roles=$3
  fresh "$kind"
  start "$name" "$breakdown" serve --roles "$roles" --config "$dir/breakdown.toml" "${log[@]}" \
    --webhooks-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0
}
# fresh LOG: an empty log; sets log.
fresh() {
  if [[ $1 == broker ]]; then
    empty_broker
    log=(--brokers "$brokers")
  else
    rm -rf "$dir"/data.*
    log=(--data-dir "$(mktemp -d "$dir/data.XXXXXX")")
  fi
}

load() { # label, seconds
  on_load "$bench" load --label "$1" --url "$url" --secret bench --payload "$payload" --seconds "$2" --warmup "$warmup" \
    --cpu-of "$pid"
}

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

fact() { # label, then name and value by turns
  local label=$1 line
  shift
  line="{\"label\":\"$label\""
  while (($#)); do
    line+=",\"$1\":\"${2//[\"\\]/}\""
    shift 2
  done
  echo "$line}" >>"$results"
}
load_average() { cut -d' ' -f1-3 /proc/loadavg; }

sleep 1
fact machine at "$(date -u +%Y-%m-%dT%H:%MZ)" cores "$(nproc)" load_before "$(load_average)" \
  model "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1)" filesystem "$(stat -f -c %T "$dir")" \
  server_core "$server_core" load_core "$load_core" rounds "$rounds" seconds "$seconds" payload "$payload_name" \
  broker "${broker_name:-}"

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

if [[ -n $started_kafka ]]; then
  scripts/kafka.sh down --wipe
  started_kafka=''
elif [[ -n $broker ]]; then
  empty_broker
fi
say "start and idle memory"
keep "$bench" resident --label resident --program "$breakdown" --starts "$starts" --idle "$idle" --work-dir "$dir"
echo "{\"label\":\"binary\",\"bytes\":$(stat -c %s "$breakdown")}" >>"$results"
fact machine-after load_after "$(load_average)"

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
