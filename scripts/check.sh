#!/usr/bin/env bash
# All that CI runs, in an order that finds cheap mistakes first. Starts what it needs and stops it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
# Pieces for the next build of the same files are half of what a build writes, and a fresh clone has no next one.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
began=$SECONDS

step() { echo; echo "== [$((SECONDS - began)) s] $*"; }
tidy() {
  scripts/stop-all.sh >/dev/null 2>&1 || true
  scripts/kafka.sh down --wipe >/dev/null 2>&1 || true
}
trap tidy EXIT

step "formatting"
cargo fmt --all --check

# The broker's jars, the calendar server and the example payloads come over the network while cargo builds.
mkdir -p target
scripts/kafka.sh fetch >target/fetch-kafka.log 2>&1 & kafka=$!
scripts/radicale.sh fetch >target/fetch-radicale.log 2>&1 & radicale=$!
scripts/fetch-webhook-examples.sh >target/fetch-examples.log 2>&1 & examples=$!

step "licences, duplicate versions, unsafe code"
scripts/deny.sh

step "clippy, warnings are errors"
cargo clippy --workspace --all-targets --locked -- -D warnings
step "clippy without the broker backend"
cargo clippy -p breakdown --no-default-features --locked -- -D warnings

step "a broker, and real webhook payloads"
wait "$examples" || { cat target/fetch-examples.log; exit 1; }
wait "$radicale" || { cat target/fetch-radicale.log; exit 1; }
wait "$kafka" || { cat target/fetch-kafka.log; exit 1; }
scripts/kafka.sh up
export REDPANDA_BROKERS=127.0.0.1:${BREAKDOWN_KAFKA_PORT:-19092}

step "tests, the broker ones among them"
cargo test --workspace --locked

step "the fuzzer's corpus, and what is like it"
cargo test --manifest-path fuzz/Cargo.toml --target-dir target --locked --quiet

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

step "the README's first command"
lines=$(wc -l <README.md)
((lines <= 150)) || { echo "README.md has $lines lines; its first page is 150" >&2; exit 1; }
env -u REDPANDA_BROKERS cargo run --release --locked -- serve --demo --exit | tee target/demo.log
grep -q '^demo complete$' target/demo.log

step "the sample policies do what their cases say"
cargo run --release --locked --quiet -- policy test samples
cargo run --release --locked --quiet -- --config samples/targets/breakdown.toml policy check --deny-warnings samples/targets/policy.yaml

step "a rule from its first line to the explanation of its action"
scripts/test-policy.sh

step "the flow, embedded log"
env -u REDPANDA_BROKERS scripts/start-all.sh
env -u REDPANDA_BROKERS scripts/test-flow.sh
scripts/stop-all.sh

step "the flow, a process a role on the broker"
scripts/start-all.sh --kafka
scripts/test-flow.sh
scripts/stop-all.sh

step "tortured for a minute, embedded log"
env -u REDPANDA_BROKERS TORTURE_PROFILE=release scripts/torture.sh --seed 1 --events 1500 --minutes 0.75 --faults 12

step "tortured for a minute, on a broker of its own that is tortured, too"
env -u REDPANDA_BROKERS TORTURE_PROFILE=release scripts/torture.sh --log kafka --seed 2 --events 1500 --minutes 0.75 --faults 12

step "docker files"
scripts/check-docker.sh

step "done in $((SECONDS - began)) s"
