#!/usr/bin/env bash
# A real Apache Kafka broker for tests and benches: one node, KRaft, on 127.0.0.1; or several.
#
#   scripts/kafka.sh up            start it (again: say that it is up); data of the last run is kept (tests leave topics: wipe now and then)
#   scripts/kafka.sh up --nodes 3  start three, or those of them that do not run: three replicas of everything, two of them in sync
#   scripts/kafka.sh down          stop all that run
#   scripts/kafka.sh down --wipe   stop them and delete their data
#   scripts/kafka.sh fetch         only fetch the server's jars (Maven; `up` does it too)
#
# BREAKDOWN_KAFKA_PORT moves it from port 19092; the port above that one is the controller's, and further nodes take the two above
# each. BREAKDOWN_KAFKA_DIR, an absolute path, moves data, server.properties, server.log and pid from target/kafka (of several nodes:
# node-1, node-2, … in it): another port and another directory are another broker. The jars are always in target/kafka.
# BREAKDOWN_KAFKA_VERSION takes another version than the one that is tested with; each has data of its own.
set -euo pipefail

# Not the newest: in 4.3.1 a coordinator that looks for the leader of a partition while it has none (a lone broker that starts again, or
# was fenced) takes the partition for deleted: it skips the marker and calls the transaction complete, and what stands behind its
# records can be read by nobody (KAFKA-20734).
version=${BREAKDOWN_KAFKA_VERSION:-4.1.2}
plugin=3.9.0
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jars=$root/target/kafka
dir=${BREAKDOWN_KAFKA_DIR:-$jars}
libs=$jars/libs-$version
first=${BREAKDOWN_KAFKA_PORT:-19092}
nodes=1
said=()

# What is node $1's own, from here on.
node() {
  id=$1 home=$dir port=$((first + 2 * ($1 - 1)))
  ((nodes == 1)) || home=$dir/node-$id
  data=$home/data-$version log=$home/server.log pidfile=$home/pid
  mkdir -p "$home"
}

die() { echo "kafka.sh: $*" >&2; exit 1; }

# The pid of the broker that lives in $1, if it is alive; a pid that another program has by now is not ours.
running() {
  local pid
  [[ -s $1/pid ]] || return 1
  pid=$(<"$1/pid")
  [[ $(ps -o args= -p "$pid" 2>/dev/null) == *"$1/server.properties"* ]] && echo "$pid"
}

# Asks for the API versions (request 18, version 0, correlation 1, no client id) and wants correlation 1, error 0 back.
answers() {
  local reply
  exec 3<>"/dev/tcp/127.0.0.1/$1" || return 1
  printf '\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff' >&3
  reply=$(timeout 2 head -c 10 <&3 | od -An -tx1 -j4 | tr -d ' \n')
  exec 3>&-
  [[ $reply == 000000010000 ]]
}

need_java() {
  command -v java >/dev/null || die "java is missing: install a JRE, 17 or newer (Debian: openjdk-17-jre-headless)"
  local major
  major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n1)
  [[ ${major:-0} -ge 17 ]] || die "java ${major:-of unknown version} is too old for Kafka $version: install 17 or newer"
}

fetch() {
  [[ -d $libs ]] && return
  command -v mvn >/dev/null || die "mvn is missing: install Maven (Debian: maven); it fetches Kafka's jars"
  local part=$jars/fetch.$$
  mkdir -p "$part"
  # slf4j-simple writes to stderr, which `up` sends to the log file.
  cat >"$part/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>breakdown</groupId>
  <artifactId>kafka-server</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
  echo "kafka.sh: fetching Apache Kafka $version with Maven" >&2
  mvn -q -B -f "$part/pom.xml" "org.apache.maven.plugins:maven-dependency-plugin:$plugin:copy-dependencies" \
    -DincludeScope=runtime -DoutputDirectory="$part/libs" >&2 || { rm -rf "$part"; die "Maven could not fetch the jars"; }
  # Whole or not at all; of two that fetch at once the second finds the first one's.
  [[ -d $libs ]] || mv "$part/libs" "$libs"
  rm -rf "$part"
}

configure() {
  local voters='' replicas=$((nodes < 3 ? nodes : 3)) in_sync=$((nodes < 3 ? 1 : 2)) n
  for ((n = 1; n <= nodes; n++)); do voters+=,$n@127.0.0.1:$((first + 2 * n - 1)); done
  cat >"$home/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=$id
controller.quorum.voters=${voters#,}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
log.dirs=$data
# Topics are made by name, never by accident.
auto.create.topics.enable=false
default.replication.factor=$replicas
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$replicas
offsets.topic.num.partitions=4
offsets.topic.segment.bytes=8388608
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$in_sync
transaction.state.log.num.partitions=4
transaction.state.log.segment.bytes=8388608
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$in_sync
group.initial.rebalance.delay.ms=0
# Tests of takeovers let members time out quickly, and their open transactions.
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
# The heap is small and partitions are many.
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=33554432
PROPERTIES
}

usage() {
  local n brokers=''
  for ((n = 0; n < nodes; n++)); do brokers+=,127.0.0.1:$((first + 2 * n)); done
  echo "export REDPANDA_BROKERS=${brokers#,}"
}

# Starts this node, without waiting for it: of several, most must run before one is up.
start() {
  answers "$port" 2>/dev/null && die "another broker answers on port $port: stop it or set BREAKDOWN_KAFKA_PORT"
  configure
  if [[ ! -f $data/meta.properties ]]; then
    # All nodes are of one cluster.
    local cluster=$dir/cluster-$version
    [[ -s $cluster ]] || head -c16 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=' >"$cluster"
    java -Xshare:auto -XX:TieredStopAtLevel=1 -cp "$libs/*" kafka.tools.StorageTool format --ignore-formatted \
      -t "$(<"$cluster")" -c "$home/server.properties" >>"$log" 2>&1 || { tail -n 20 "$log" >&2; die "the store could not be formatted"; }
  fi
  # What was said before a crash is what explains what came after it, so the log goes on; only this start's part tells of this start.
  said[id]=$(stat -c %s "$log" 2>/dev/null || echo 0)
  nohup java -Xmx512m -Xms128m -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true \
    -Dorg.slf4j.simpleLogger.defaultLogLevel=info -Dorg.slf4j.simpleLogger.showDateTime=true \
    -cp "$libs/*" kafka.Kafka "$home/server.properties" >>"$log" 2>&1 </dev/null &
  echo $! >"$pidfile"
}

# Waits until this node has started.
await() {
  local pid tries
  pid=$(<"$pidfile")
  for ((tries = 0; tries < 600; tries++)); do
    kill -0 "$pid" 2>/dev/null || { tail -n 30 "$log" >&2; rm -f "$pidfile"; die "the broker ended while starting: $log"; }
    if grep -q 'Kafka Server started' <(tail -c +$((said[id] + 1)) "$log") && answers "$port" 2>/dev/null; then
      echo "kafka.sh: Apache Kafka $version is up on 127.0.0.1:$port (pid $pid, log $log)" >&2
      return
    fi
    sleep 0.2
  done
  die "the broker did not answer on port $port within two minutes: $log"
}

up() {
  local pid n started=()
  for ((n = 1; n <= nodes; n++)); do
    node "$n"
    if pid=$(running "$home"); then
      # It may have been started with another port.
      port=$(sed -n 's|^advertised.listeners=PLAINTEXT://127.0.0.1:||p' "$home/server.properties")
      first=$((port - 2 * (n - 1)))
      answers "$port" 2>/dev/null || die "process $pid does not answer on port $port: look at $log, or scripts/kafka.sh down"
      echo "kafka.sh: already up on 127.0.0.1:$port (pid $pid)" >&2
    else
      need_java
      fetch
      start
      started+=("$n")
    fi
  done
  for n in "${started[@]}"; do node "$n" && await; done
  usage
}

down() {
  local home pid tries found='' stopping=()
  for home in "$dir" "$dir"/node-*; do
    pid=$(running "$home") || continue
    kill "$pid"
    stopping+=("$pid")
  done
  for ((tries = 0; tries < 150; tries++)); do
    kill -0 "${stopping[@]}" 2>/dev/null || break
    sleep 0.2
  done
  for pid in "${stopping[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  if ((${#stopping[@]})); then echo "kafka.sh: stopped" >&2; else echo "kafka.sh: not running" >&2; fi
  rm -f "$dir"/pid "$dir"/node-*/pid
  if [[ ${1:-} == --wipe ]]; then rm -rf "$dir"/data-* "$dir"/server.log "$dir"/cluster-* "$dir"/node-*; fi
}

mkdir -p "$dir" "$jars"
if [[ ${1:-} == up && ${2:-} == --nodes ]]; then
  [[ ${3:-} =~ ^[1-9]$ ]] || die "how many nodes? scripts/kafka.sh up --nodes 3"
  nodes=$3
fi
case "${1:-}" in
  up) up ;;
  down) down "${2:-}" ;;
  fetch) fetch ;;
  *) sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
