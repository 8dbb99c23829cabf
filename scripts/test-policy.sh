#!/usr/bin/env bash
# The way of docs/policy.md, as commands: its rule is added to the sample, broken, mended by its message, tested by its cases, tried
# on history, run, and an action explained. Needs nothing that runs; leaves nothing behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD breakdown=${BREAKDOWN:-$PWD/target/release/breakdown}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
# Nobody's configuration.
unset REDPANDA_BROKERS CALENDAR_API_BASE BREAKDOWN_POLICY BREAKDOWN_DATA_DIR

fail() { echo "test-policy.sh: $*" >&2; exit 1; }
# Runs a command that must end with exit code $1, and keeps what it prints in `said`.
ends() {
  local code=0 expected=$1
  shift
  echo "\$ breakdown $*"
  said=$("$breakdown" "$@" 2>&1) || code=$?
  echo "$said"
  [[ $code == "$expected" ]] || fail "exit code $code instead of $expected"
}
says() { [[ $said == *"$1"* ]] || fail "this is not said: $1"; }

# The code after `<!-- example: NAME -->` in docs/policy.md.
example() {
  python3 - "$root/docs/policy.md" "<!-- example: $1 -->" <<'PY'
import sys
lines = open(sys.argv[1], encoding="utf-8").read().split("\n")
marks = [at for at, line in enumerate(lines) if line.strip() == sys.argv[2]]
if len(marks) != 1:
    sys.exit(f"{sys.argv[1]} has {sys.argv[2]} {len(marks)} times instead of once")
code = " " * (len(lines[marks[0]]) - len(lines[marks[0]].lstrip()) + 4)
block = []
for line in lines[marks[0] + 2 :]:
    if not line.startswith(code):
        break
    block.append(line.removeprefix(code))
print("\n".join(block))
PY
}
# Puts a text for another in a file; both must be there to be put and to be replaced.
replace() { python3 -c 'import sys; file, old, new = sys.argv[1:]; text = open(file).read(); assert old in text, old
open(file, "w").write(text.replace(old, new, 1))' "$@"; }

# Written: the documented rule, above the others.
cp "$root/samples/policy.yaml" mine.yaml
rule=$(example rule)
replace mine.yaml $'rules:\n' $'rules:\n'"$rule"$'\n\n'
ends 0 policy check --deny-warnings mine.yaml
says "5 rules"
# What editors complete it by.
"$breakdown" policy schema >policy.schema.json
grep -q '^# yaml-language-server: $schema=policy.schema.json$' mine.yaml || fail "the copy does not name its schema"

# Broken in each of the documented ways, and mended by the message.
cp mine.yaml broken.yaml
replace broken.yaml '"bug" in issue.labels && issue.assignee' '"bug" in issue.label && issue.assignee'
ends 1 policy check broken.yaml
says 'unknown field `issue.label`'
says 'did you mean `issue.labels`?'
ends 1 policy check --format github broken.yaml
says '::error file=broken.yaml,line='
replace broken.yaml 'in issue.label ' 'in issue.labels '
replace broken.yaml '>= duration("72h")' '>= "72h"'
ends 1 policy check broken.yaml
says 'a duration is not compared with text'
says 'write `duration("72h")`'
replace broken.yaml '>= "72h"' '>= duration("72h")'
cmp mine.yaml broken.yaml || fail "the mended file is not the one that was broken"
replace broken.yaml $'    at: issue.created_at + duration("72h")\n' ''
ends 0 policy check broken.yaml
says 'this becomes true as time passes, and nothing looks at the rule then'
says 'give the rule `at: issue.created_at + duration("72h")`'
ends 1 policy check --deny-warnings broken.yaml

# Tested, by the documented cases; without the rule the first of them fails.
example cases >mine.test.yaml
ends 0 policy test mine.yaml
says "2 passed, 0 failed"
ends 1 policy test mine.test.yaml --policy "$root/samples/policy.yaml"
says "1 passed, 1 failed"

# Tried on history, against the policy that is built in.
ends 0 policy backtest mine.yaml --against "$root/samples/policy.yaml" --input "$root/samples/history.ndjson" --max-added 20 --max-removed 0
says "the direct difference only"
ends 1 policy backtest "$root/samples/policies/support-sla.yaml" --input "$root/samples/history.ndjson" --max-removed 0

# Run, and one action explained: from the log, with the policy that decided it.
ends 0 policy explain "$root/samples/issue_triage.json" --policy mine.yaml --rule unowned-bug
says "unowned-bug"
ends 0 serve --demo --exit --data-dir "$dir/data" --policy mine.yaml --webhooks-listen 127.0.0.1:0 \
  --admin-listen 127.0.0.1:0 --calendar-listen 127.0.0.1:0
id=$("$breakdown" tail actions --data-dir "$dir/data" --json |
  python3 -c 'import json, sys; print(next(v["event_id"] for v in map(lambda l: json.loads(l)["value"], sys.stdin) if v["rule"] == "escalate-p0-bug"))')
# Another policy now: the past keeps its own.
ends 0 policy explain "$id" --data-dir "$dir/data"
says "escalate-p0-bug"
says "unowned-bug"
ends 0 policy explain github:acme/checkout#101 --data-dir "$dir/data" --policy mine.yaml
says "escalate-p0-bug"
echo "policy: written, broken, mended, tested, tried on history, explained"
