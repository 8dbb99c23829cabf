# Sourced by the benches that start servers and put load on them, each in its turn, on empty logs.
#
#   begin NAME       target/bench/NAME is emptied and is the place of everything; ends what was started when the script ends
#   build            breakdown and bench; sets breakdown, bench
#   need_payload     sets payload, payload_name
#   need_broker      starts scripts/kafka.sh where it is not running; sets brokers, broker_name
#   serve, start     a server, ready; sets pid, url and log (the flag by which others find its log)
#   load, keep, fact, on_server, on_load, fresh, empty_broker, stop
#
# Results are lines of JSON in $results; `bench report` makes tables of them. Each line's meaning stands in scripts/bench/src.

die() { echo "bench.sh: $*" >&2; exit 1; }
say() { echo "bench.sh: [$SECONDS s] $*" >&2; }

server_core=${BENCH_SERVER_CORE:-0} load_core=${BENCH_LOAD_CORE:-1}
on_server() { taskset -c "$server_core" "$@"; }
on_load() { taskset -c "$load_core" "$@"; }
keep() { "$@" >>"$results"; }
load_average() { cut -d' ' -f1-3 /proc/loadavg; }

begin() { # name
  local tool variable
  for tool in taskset curl cargo; do
    command -v "$tool" >/dev/null || die "$tool is missing"
  done
  taskset -c "$server_core,$load_core" true 2>/dev/null || die "cores $server_core and $load_core are not both there"
  dir=$PWD/target/bench/$1
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
  pids=() started_kafka=''
  trap tidy EXIT
}
tidy() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  if [[ -n $started_kafka ]]; then scripts/kafka.sh down --wipe || true; fi
  rm -rf "$dir"/data.*
}

build() {
  say "building"
  cargo build --release --locked -p breakdown -p bench
  bench=${CARGO_TARGET_DIR:-$PWD/target}/release/bench
  breakdown=${CARGO_TARGET_DIR:-$PWD/target}/release/breakdown
}

need_payload() {
  local index
  payload=$dir/payload.json
  if scripts/fetch-webhook-examples.sh >&2; then
    index=$(ls -t target/octokit/webhooks-examples-*/api.github.com/index.json | head -n1)
    "$bench" payload --from "$index" --out "$payload" >&2
    payload_name="$(stat -c %s "$payload") bytes, issues.opened of @octokit/webhooks-examples"
  else
    "$bench" payload --from samples/deliveries/github-issue-opened-triage.json --out "$payload" >&2
    payload_name="$(stat -c %s "$payload") bytes, samples/deliveries/github-issue-opened-triage.json lengthened"
  fi
}

# Breakdown's topics are deleted from the broker between measurements, so one that is not that of scripts/kafka.sh needs `wipe`.
need_broker() {
  local port=${BREAKDOWN_KAFKA_PORT:-19092}
  broker_name=$brokers
  if [[ -z $brokers || $brokers == "127.0.0.1:$port" ]]; then
    # `up` says so where the broker has been up before; then it is not ours to stop.
    scripts/kafka.sh up 2>"$dir/kafka.txt" >/dev/null || { cat "$dir/kafka.txt" >&2; die "no broker; --no-broker does without, where that is offered"; }
    grep -q 'already up' "$dir/kafka.txt" || started_kafka=yes
    brokers=$(sed -n 's/.* on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$dir/kafka.txt")
    broker_name="Apache Kafka, one JVM"
  else
    [[ -n ${wipe:-} ]] || die "Breakdown's topics on $brokers would be deleted: say --wipe if that is right"
  fi
}
leave_broker() {
  if [[ -n $started_kafka ]]; then
    scripts/kafka.sh down --wipe
    started_kafka=''
  elif [[ -n $brokers ]]; then
    empty_broker
  fi
}
empty_broker() { "$bench" wipe --brokers "$brokers" "$@"; }

# start NAME COMMAND…: starts a server on its core and waits until it listens; sets pid and url.
start() {
  local name=$1 admin tries
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

# serve NAME LOG ROLES: breakdown on an empty log.
serve() {
  local name=$1 kind=$2 roles=$3
  fresh "$kind"
  start "$name" "$breakdown" serve --roles "$roles" --config "$dir/breakdown.toml" "${log[@]}" \
    --webhooks-listen 127.0.0.1:0 --admin-listen 127.0.0.1:0
}
# fresh LOG [--make]: an empty log; sets log.
fresh() {
  if [[ $1 == broker ]]; then
    empty_broker "${@:2}"
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
# What was measured on, and that it is over.
machine() {
  fact machine at "$(date -u +%Y-%m-%dT%H:%MZ)" cores "$(nproc)" load_before "$(load_average)" \
    model "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n1)" filesystem "$(stat -f -c %T "$dir")" \
    server_core "$server_core" load_core "$load_core" rounds "$rounds rounds${seconds:+ of $seconds s}" payload "${payload_name:-}" broker "${broker_name:-}"
}
machine_after() { fact machine-after load_after "$(load_average)"; }
