#!/bin/sh
# Fetches GitHub's own example payloads (npm package @octokit/webhooks-examples, MIT) into target/octokit/, where the tests of
# `webhooks` look for them. Needs npm, tar and access to the npm registry; does nothing when they are there already.
set -eu

version=7.6.1
cd "$(dirname "$0")/.."
directory=target/octokit/webhooks-examples-$version

if [ -f "$directory/api.github.com/index.json" ]; then
    echo "webhook examples $version: already in $directory"
    exit 0
fi

for tool in npm tar; do
    command -v "$tool" >/dev/null || { echo "webhook examples: $tool is missing; install it" >&2; exit 1; }
done

mkdir -p target/octokit
# Unpacked beside its place and then moved, so that a broken download is never taken for the whole.
unpacked=$(mktemp -d target/octokit/fetch.XXXXXX)
trap 'rm -rf "$unpacked"' EXIT
npm pack --silent --pack-destination "$unpacked" "@octokit/webhooks-examples@$version" >/dev/null
tar -xzf "$unpacked/octokit-webhooks-examples-$version.tgz" -C "$unpacked"
rm -rf "$directory"
mv "$unpacked/package" "$directory"
echo "webhook examples $version: fetched into $directory"
