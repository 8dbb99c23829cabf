#!/usr/bin/env bash
# The way of docs/policy.md, as commands: a rule is written, broken, mended by its message, tested, tried on history, run, and one
# of its actions explained. Needs nothing that runs; leaves nothing behind.
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

# Written: a rule of one's own, above the others.
python3 - "$root/samples/policy.yaml" >my-policy.yaml <<'PY'
import sys
rule = '''  - id: security-first
    when: 'issue.labels.exists(label, label.startsWith("security"))'
    then: { action: escalate_owner, target: "team:platform" }
    rationale: Security reports are looked at before anything else
'''
head, rules = open(sys.argv[1]).read().split("rules:", 1)
line, rules = rules.split("\n", 1)
print(head + "rules:" + line + "\n" + rule + rules, end="")
PY
ends 0 policy check my-policy.yaml
says "5 rules"

# Broken, and mended by the message.
sed 's/issue.labels.exists(label/issue.lables.exists(label/' my-policy.yaml >broken.yaml
ends 1 policy check broken.yaml
says 'did you mean `issue.labels`?'
ends 1 policy check --format github broken.yaml
says '::error file=broken.yaml,line='
sed -i 's/issue\.lables/issue.labels/' broken.yaml
ends 0 policy check --deny-warnings broken.yaml
cmp my-policy.yaml broken.yaml || fail "the mended file is not the one that was broken"

# Tested.
cat >my-policy.test.yaml <<'YAML'
cases:
  - name: A security report calls the platform team, whatever else it is
    steps:
      - event: { type: issue_opened, labels: [security/xss, frontend] }
        expect: [ "escalate_owner team:platform security-first" ]
  - name: All else stays as it was
    steps:
      - event: { type: issue_opened, labels: [frontend] }
        expect: [ "assign_owner owner:alice frontend-to-alice" ]
YAML
ends 0 policy test my-policy.yaml
ends 1 policy test my-policy.test.yaml --policy "$root/samples/policy.yaml"

# Tried on history, against the policy that is built in.
ends 0 policy backtest my-policy.yaml --input "$root/samples/history.ndjson" --max-removed 0
says "first-order difference only"
ends 1 policy backtest "$root/samples/policies/support-sla.yaml" --input "$root/samples/history.ndjson" --max-removed 0

# Run, and one action explained: from the log, with the policy that decided it.
ends 0 policy explain "$root/samples/issue_bug_p0.json" --policy my-policy.yaml --rule security-first
says "security-first"
ends 0 serve --demo --exit --data-dir "$dir/data" --policy my-policy.yaml --webhooks-listen 127.0.0.1:0 \
  --admin-listen 127.0.0.1:0 --calendar-listen 127.0.0.1:0
id=$("$breakdown" tail actions --data-dir "$dir/data" --json |
  python3 -c 'import json, sys; print(next(v["event_id"] for v in map(lambda l: json.loads(l)["value"], sys.stdin) if v["rule"] == "escalate-p0-bug"))')
# Another policy now: the past keeps its own.
ends 0 policy explain "$id" --data-dir "$dir/data"
says "escalate-p0-bug"
says "security-first"
ends 0 policy explain github:acme/checkout#101 --data-dir "$dir/data" --policy my-policy.yaml
says "escalate-p0-bug"
echo "policy: written, broken, mended, tested, tried on history, explained"
