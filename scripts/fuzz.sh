#!/usr/bin/env bash
# Fuzzes whoever reads what comes from outside: libFuzzer with coverage feedback, on stable Rust.
#
#   scripts/fuzz.sh [TARGET…] [--seconds N]   each target for N seconds (6) on one core; without targets, all of them
#   scripts/fuzz.sh --minimise [TARGET…]      fuzz/corpus/ becomes a few small inputs of those that cover what was found so far
#   scripts/fuzz.sh --reproduce TARGET FILE   puts one input to a target, say a finding
#
# fuzz/src/lib.rs names the targets. Everything is under target/fuzz: the instrumented build, seeds made of the samples (and of
# GitHub's own examples, where scripts/fetch-webhook-examples.sh fetched them), the growing corpus, findings. A finding ends
# the run with exit 1: put it into fuzz/corpus/TARGET once it is understood, and `cargo test` in fuzz/ keeps it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { echo "fuzz.sh: $*" >&2; exit 2; }

seconds=6
mode=fuzz
targets=()
while (($#)); do
  case $1 in
    --seconds) seconds=${2:?--seconds wants a number}; shift ;;
    --minimise) mode=minimise ;;
    --reproduce) mode=reproduce; targets=("${2:?--reproduce wants a target}"); input=${3:?--reproduce wants a file}; shift 2 ;;
    -*) die "unknown option $1" ;;
    *) targets+=("$1") ;;
  esac
  shift
done
mapfile -t all < <(sed -n 's/^    ("\([a-z]*\)", .*::.*),$/\1/p' fuzz/src/lib.rs)
((${#targets[@]})) || targets=("${all[@]}")
for target in "${targets[@]}"; do
  [[ " ${all[*]} " == *" $target "* ]] || die "unknown target $target; there are ${all[*]}"
done
command -v c++ >/dev/null || die "a C++ compiler is missing: install one (Debian: g++)"

# What cargo-fuzz asks of a nightly compiler but the address sanitizer, which would find nothing: no code here is unsafe.
# Naming the machine keeps the flags away from build scripts and macros.
host=$(rustc -vV | sed -n 's/^host: //p')
work=$PWD/target/fuzz
flags=(-Cpasses=sancov-module)
for option in level=4 inline-8bit-counters pc-table trace-compares; do
  flags+=("-Cllvm-args=-sanitizer-coverage-$option")
done
flags+=(-Cllvm-args=-simplifycfg-branch-fold-threshold=0)
env -u CARGO_BUILD_BUILD_DIR RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR="$work" CARGO_INCREMENTAL=0 \
  cargo build --manifest-path fuzz/Cargo.toml --release --locked --quiet --features engine --target "$host"
engine=$work/$host/release/fuzz

run() {
  local target=$1
  shift
  # A finding is told by its input and the panic; whatever the program logs is not listened to.
  BREAKDOWN_FUZZ=$target "$engine" -timeout=10 -rss_limit_mb=2048 -max_len=32768 "$@"
}

if [[ $mode == reproduce ]]; then
  run "${targets[0]}" "$input"
  exit
fi

python3 fuzz/seeds.py "$work/seeds"
mkdir -p "$work/findings"
failed=()
printf '%-10s %10s %8s %8s %8s  %s\n' target runs runs/s edges inputs finding
for target in "${targets[@]}"; do
  mkdir -p "$work/corpus/$target" "fuzz/corpus/$target"
  places=("$work/corpus/$target" "fuzz/corpus/$target" "$work/seeds/$target")
  if [[ $mode == minimise ]]; then
    rm -rf "$work/minimal" && mkdir -p "$work/minimal"
    run "$target" -set_cover_merge=1 "$work/minimal" "${places[@]}" >"$work/$target.log" 2>&1 ||
      { tail -n 20 "$work/$target.log" >&2; die "the corpus of $target could not be minimised"; }
    python3 fuzz/keep.py "$work/minimal" "fuzz/corpus/$target"
    printf '%-10s %10s %8s %8s %8s\n' "$target" - - - "$(find "fuzz/corpus/$target" -type f | wc -l)"
    continue
  fi
  status=-
  run "$target" -max_total_time="$seconds" -dict="$work/seeds/$target.dict" -print_final_stats=1 \
    -artifact_prefix="$work/findings/$target-" "${places[@]}" >"$work/$target.log" 2>&1 ||
    { status=$(sed -n 's/.*Test unit written to //p' "$work/$target.log" | tail -n 1); failed+=("$target"); }
  stat() { sed -n "s/^stat::$1: *//p" "$work/$target.log" | tail -n 1; }
  edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$work/$target.log" | tail -n 1)
  printf '%-10s %10s %8s %8s %8s  %s\n' "$target" "$(stat number_of_executed_units)" "$(stat average_exec_per_sec)" \
    "${edges:--}" "$(find "$work/corpus/$target" -type f | wc -l)" "$status"
done
for target in "${failed[@]}"; do
  echo >&2
  echo "fuzz.sh: $target found something; the end of target/fuzz/$target.log:" >&2
  grep -aE "panicked|assertion|left:|right:|SUMMARY|ERROR" -A2 "$work/$target.log" | head -n 20 >&2 || true
done
((${#failed[@]} == 0))
