#!/usr/bin/env bash
# Checks docker/ without a Docker engine: the files as Docker's own libraries read them, and whatever they name against
# the rest of the repository. What cannot be looked at here (no go, no release build, another Debian) is named as skipped.
#
#   scripts/check-docker.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=target/docker-check
program=target/release/breakdown
failures=0

ok() { echo "ok       $*"; }
skipped() { echo "skipped  $*"; }
bad() { echo "FAILED   $*" >&2; failures=$((failures + 1)); }
# Runs a check: its name, then a function that says what is wrong on standard error and returns false.
try() {
  local name=$1
  shift
  if "$@"; then ok "$name"; else bad "$name"; fi
}
same() { # what, wanted, found
  [[ $2 == "$3" ]] || { printf '%s differ (< wanted, > found):\n' "$1" >&2; diff <(echo "$2") <(echo "$3") >&2; }
}
fact() { sed -n "s/^$1\t//p" "$work/facts"; }

# -- compose.yaml, Dockerfile and .dockerignore, parsed -----------------------------------------------------------------

parsed() {
  local status=0
  go -C docker/check vet ./... && go -C docker/check build -o "$PWD/$work/check" . || return 1
  "$work/check" . "$work/facts" || return 1
  # Breaks copies of the files in two dozen ways: a checker that finds nothing is found out. Never from go's cache, which
  # does not see that files outside of docker/check changed.
  go -C docker/check test -count=1 ./... >"$work/go-test.out" 2>&1 || { cat "$work/go-test.out" >&2; status=1; }
  return $status
}

# -- what they name ------------------------------------------------------------------------------------------------------

shell_syntax() {
  local script said
  # bash says some mistakes without failing: whatever is said counts.
  said=$({
    sh -n docker/topics.sh
    bash -n docker/healthcheck.sh
    while IFS= read -r script; do sh -n -c "$script"; done < <(fact run; fact shell | cut -f2)
  } 2>&1) || true
  [[ -z $said ]] || { echo "$said" >&2; return 1; }
}

build_context() { # the files that the build gets, in a folder of their own: a workspace that cargo accepts
  local context=$work/context status=0 source name
  rm -rf "$context"
  mkdir -p "$context"
  fact context | tar --create --files-from=- | tar --extract --directory="$context"
  cargo metadata --no-deps --format-version=1 --manifest-path="$context/Cargo.toml" >"$work/metadata.json" || return 1
  [[ -s $context/Cargo.lock ]] || { echo "Cargo.lock is left out, and the build says --locked" >&2; status=1; }
  # Files that the compiler takes in, beside the sources.
  while IFS=: read -r source name; do
    [[ -e $(dirname "$source")/$name ]] || { echo "$source includes $name, which .dockerignore leaves out" >&2; status=1; }
  done < <(grep -rhoH --include='*.rs' 'include_\(str\|bytes\)!("[^"]*")' "$context" | sed 's/include_[a-z]*!("\(.*\)")/\1/')
  while IFS= read -r name; do
    grep -q "\"kind\":\[\"bin\"\],\"crate_types\":\[\"bin\"\],\"name\":\"$name\"" "$work/metadata.json" ||
      { echo "the Dockerfile builds --bin $name; the workspace has no such program" >&2; status=1; }
  done < <(fact program)
  return $status
}

variables() {
  local where name status=0
  while IFS=$'\t' read -r where name; do
    grep -rqw --include='*.rs' "$name" cli/src || { echo "$where: nothing reads $name" >&2; status=1; }
  done < <(fact variable)
  return $status
}

either_secret() { # the one-shot service `secrets`: fails without any, says both names, is content with one
  local service env given script said status=0
  while IFS=$'\t' read -r service env given; do
    script=$(fact shell | sed -n "s/^$service\t//p")
    said=$(GIVEN=$given sh -euc "$script" 2>&1) && said=fine
    case $env:$said in
      ?*:fine | :*GITHUB_WEBHOOK_SECRET*JIRA_WEBHOOK_SECRET*) ;;
      *) echo "$service with '$env': $said" >&2; status=1 ;;
    esac
  done < <(fact given)
  [[ -n $(fact given) ]] || { echo "no service asks for the secrets" >&2; status=1; }
  return $status
}

# What the Rust side says of topics, as "name setting=value …" in order of name.
topics_wanted() {
  local topic policy all compacted for_ever partitions retention bytes settings name
  constant() { sed -n "s/^pub const $1: &str = \"\(.*\)\";/\1/p" events/src/topic.rs; }
  list() { tr '\n' ' ' <events/src/topic.rs | sed -n "s/.*pub const $1: \[&str; [0-9]*\] =[^[]*\[\([^]]*\)\].*/\1/p" | tr -d ' ' | tr ',' '\n'; }
  all=$(list ALL) compacted=$(list COMPACTED) for_ever=$(list KEPT)
  # A test of the program holds these two to its defaults.
  partitions=$(sed -n 's/^# partitions = \([0-9]*\)$/\1/p' breakdown.example.toml)
  retention=$(sed -n 's/^# retention = "\([0-9]*\)d"$/\1/p' breakdown.example.toml | head -n 1)
  bytes=$(sed -n 's/.*const MAX_RECORD_BYTES: usize = \([0-9 *]*\);/\1/p' eventlog/src/kafka/config.rs)
  # Settings with a number of their own: those of compacted topics.
  settings=$(sed -n '/^fn settings/,/^}/s/.*("\([a-z.]*\)", (\([0-9 *]*\))\.to_string.*/\1 \2/p' eventlog/src/kafka/admin.rs)
  for topic in $all; do
    name=$(constant "$topic")
    policy=delete kept=$((retention * 24 * 60 * 60 * 1000))
    grep -qx "$topic" <<<"$compacted" && policy=compact
    [[ $policy == compact ]] || grep -qx "$topic" <<<"$for_ever" && kept=-1
    {
      echo "cleanup.policy=$policy"
      echo "max.message.bytes=$((bytes))"
      sed -n '/^fn settings/,/^}/s/.*("message.timestamp.type", "\([A-Za-z]*\)".*/message.timestamp.type=\1/p' eventlog/src/kafka/admin.rs
      echo "retention.ms=$kept"
      [[ $policy == compact ]] && while read -r key value; do echo "$key=$((value))"; done <<<"$settings"
      # Redpanda's alone; Apache Kafka would refuse it, so `serve` does not set it.
      echo "write.caching=false"
    } | sort | tr '\n' ' ' | sed "s/^/$name partitions=$partitions /; s/ $/\n/"
  done | sort
}

# What docker/topics.sh asks rpk for: a stand-in that takes rpk's documented flags and nothing else.
topics_found() {
  local bin=$work/bin
  mkdir -p "$bin"
  cat >"$bin/rpk" <<'RPK'
#!/usr/bin/env bash
set -euo pipefail
[[ "$1 $2" == "topic create" ]] || { echo "rpk $1 $2?" >&2; exit 2; }
shift 2
settings=() names=() partitions='' replicas='' brokers='' gentle=''
while (($#)); do
  case $1 in
    --if-not-exists) gentle=yes ;;
    -X) [[ $2 == brokers=* ]] && brokers=${2#*=}; shift ;;
    --partitions) partitions=$2; shift ;;
    --replicas) replicas=$2; shift ;;
    --topic-config) settings+=("$2"); shift ;;
    -*) echo "rpk topic create has no flag $1" >&2; exit 2 ;;
    *) names+=("$1") ;;
  esac
  shift
done
[[ $gentle == yes && $replicas == 1 && $brokers == there:9092 ]] || { echo "not idempotent, or not for one broker" >&2; exit 2; }
for name in "${names[@]}"; do
  echo "$name partitions=$partitions $(printf '%s\n' "${settings[@]}" | sort | tr '\n' ' ')"
done
RPK
  chmod +x "$bin/rpk"
  PATH=$PWD/$bin:$PATH sh docker/topics.sh there:9092 | sed 's/ $//' | sort
}

topics() {
  local wanted found count keys
  wanted=$(topics_wanted) found=$(topics_found) || return 1
  count=$(grep -c '^pub const [A-Z_]*: &str' events/src/topic.rs)
  [[ $(wc -l <<<"$wanted") == "$count" ]] || { echo "events/src/topic.rs could not be read" >&2; return 1; }
  # retention.bytes is set only where the configuration limits it, which by default it does not.
  keys=$(sed -n '/^fn settings/,/^}/p' eventlog/src/kafka/admin.rs | grep -o '("[a-z]*\.[a-z.]*"' | tr -d '("' | sort -u | grep -vx retention.bytes)
  same "settings in eventlog/src/kafka/admin.rs and docker/topics.sh" "$keys" \
    "$(tr ' ' '\n' <<<"$found" | sed -n 's/^\([a-z]*\.[a-z.]*\)=.*/\1/p' | grep -vx write.caching | sort -u)" || return 1
  same topics "$wanted" "$found"
}

# -- what runs -----------------------------------------------------------------------------------------------------------

command_lines() {
  local service status=0
  local -a words
  while IFS=$'\t' read -r -a words; do
    service=${words[0]}
    "$program" "${words[@]:1}" --help >/dev/null || { echo "compose.yaml: $service: wrong command line" >&2; status=1; }
  done < <(fact command)
  # A parser that took anything would prove nothing.
  ! "$program" serve --roles nothing --help >/dev/null 2>&1 || { echo "--roles nothing was accepted" >&2; status=1; }
  return $status
}

probe() { # the image's health check against the program itself
  local out=$work/serve.out status=0 pid port path deadline=$((SECONDS + 30))
  rm -rf "$work/data" && mkdir -p "$work/data"
  : >"$out" # what an earlier run printed names another port
  env -u REDPANDA_BROKERS "$program" serve --roles calendar-mock --data-dir "$work/data" \
    --admin-listen 127.0.0.1:0 --calendar-listen 127.0.0.1:0 >"$out" 2>"$out.err" </dev/null &
  pid=$!
  until port=$(sed -n 's|^ *admin  *http://127\.0\.0\.1:\([0-9]*\).*|\1|p' "$out") && [[ -n $port ]]; do
    if ! kill -0 "$pid" 2>/dev/null || ((SECONDS > deadline)); then
      kill "$pid" 2>/dev/null || true
      cat "$out.err" >&2
      return 1
    fi
    sleep 0.05
  done
  asked() { BREAKDOWN_ADMIN_LISTEN=0.0.0.0:$port bash docker/healthcheck.sh "$1"; }
  for path in $(fact probe | cut -f2 | sort -u); do
    asked "$path" >/dev/null || { echo "$path is not healthy" >&2; status=1; }
  done
  asked /no-such-path >/dev/null && { echo "a path that is not there is healthy" >&2; status=1; }
  kill "$pid"
  wait "$pid" || { echo "SIGTERM ended it with $?" >&2; status=1; }
  asked /health/live >/dev/null 2>&1 && { echo "a server that is gone is healthy" >&2; status=1; }
  return $status
}

libraries() { # those that debian:bookworm-slim has: libc6, and libgcc-s1 and libstdc++6, which apt needs
  local found
  found=$(ldd "$program" target/release/publish | sed -n 's/^\t\([^ ]*\).*/\1/p' | sort -u |
    grep -vE '^(linux-vdso\.so\.1|/lib.*/ld-linux-.*|lib(c|m|dl|rt|pthread)\.so\.6|lib(dl|rt|pthread)\.so\.[0-9]|libgcc_s\.so\.1|libstdc\+\+\.so\.6)$' || true)
  [[ -z $found ]] || { echo "the image lacks $found" >&2; return 1; }
}

packages() {
  local names
  names=$(fact package)
  # Against an empty system, so that what is installed here does not count. shellcheck disable=SC2086
  apt-get --option Dir::State::status=/dev/null install --simulate --yes --no-install-recommends $names >/dev/null
}

mkdir -p "$work"
try "topics of docker/topics.sh, against events and eventlog" topics
if command -v go >/dev/null; then
  rm -f "$work/facts"
  try "compose.yaml, Dockerfile and .dockerignore, parsed by Docker's libraries" parsed
  if [[ -s $work/facts ]]; then
    try "shell scripts and RUN lines, syntax" shell_syntax
    try "the build context is a whole workspace with the programs" build_context
    try "every variable is one that the program reads" variables
    try "either secret will do, none will not" either_secret
    if [[ $(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}") == bookworm ]]; then
      try "the image's packages: $(fact package | tr '\n' ' ')" packages
    else
      skipped "the image's packages: this is not Debian bookworm"
    fi
    if [[ -x $program ]]; then
      try "command lines of the roles" command_lines
      try "the health check, against the program" probe
      try "shared libraries of the programs" libraries
    else
      skipped "command lines, health check, shared libraries: no $program (cargo build --release)"
    fi
  fi
else
  skipped "compose.yaml, Dockerfile and .dockerignore: go is missing"
fi
((failures == 0)) || { echo "$failures checks of docker/ failed" >&2; exit 1; }
