#!/usr/bin/env bash
# Sends the samples through what scripts/start-all.sh started, and checks what comes of them: the four actions and their
# outcomes, and that publishing the same events again adds nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
run=target/run
[[ -s $run/env ]] || { echo "test-flow.sh: nothing is running: scripts/start-all.sh first" >&2; exit 1; }
. "$run/env"
[[ $(<"$run/env") == *REDPANDA_BROKERS* ]] || unset REDPANDA_BROKERS
breakdown=target/release/breakdown

fail() { echo "test-flow.sh: $*" >&2; exit 1; }

# What comes of the four samples, published or delivered; $1 is the assignee of the overdue Jira issue.
expect() {
  expected="assign_owner owner:alice -0.1 true
escalate_owner team:platform -0.3 true
post_nudge team:triage -0.05 true
schedule_unblocker owner:$1 -0.2 true"
}

# action, target, risk and ack of every outcome whose action the given causes have; one a line, sorted.
outcomes_of() {
  "$breakdown" tail actions --json >"$run/actions.json"
  "$breakdown" tail outcomes --json >"$run/outcomes.json"
  python3 - "$run" "$@" <<'PY'
import json, sys
run, causes = sys.argv[1], set(sys.argv[2:])
read = lambda topic: [json.loads(line)["value"] for line in open(f"{run}/{topic}.json")]
actions = {a["event_id"] for a in read("actions") if a.get("cause") in causes}
for o in sorted((o for o in read("outcomes") if o["action_id"] in actions), key=lambda o: o["action"]):
    print(o["action"], o["target"], o["risk_delta"], str(o["ack"]).lower())
PY
}

# Waits until the outcomes of the given causes are the expected ones.
await_outcomes() {
  local got= deadline=$((SECONDS + 60))
  until got=$(outcomes_of "$@") && [[ $got == "$expected" ]]; do
    ((SECONDS < deadline)) || fail "after 60 s the outcomes are:"$'\n'"$got"$'\n'"instead of:"$'\n'"$expected"
    sleep 0.3
  done
  echo "$got"
}

records() { "$breakdown" tail "$1" --json | wc -l; }

# True when the gateway and the executor have read everything; a broker may have groups of others.
settled() {
  local groups
  groups=$("$breakdown" groups --json | grep -E '"group":"(gateway|executor)"') || return 1
  ! grep -qv '"lag":0[,}]' <<<"$groups"
}

samples=(bug_p0 frontend jira_overdue triage)
publish() {
  for sample in "${samples[@]}"; do
    "$breakdown" publish --topic issues --file "samples/issue_$sample.json" --json
  done
}

echo "== publish the four sample events"
mapfile -t ids < <(publish | sed 's/.*"event_id":"\([^"]*\)".*/\1/')
expect 5f8c1d2e9a4b3c0071e6d5aa
await_outcomes "${ids[@]}"

echo "== publish the same events again: no action is added"
before=$(records actions)
issues=$(records issues)
publish >/dev/null
[[ $(records issues) == $((issues + ${#samples[@]})) ]] || fail "the events are not on the log a second time"
deadline=$((SECONDS + 60))
until settled; do
  ((SECONDS < deadline)) || fail "the groups do not catch up: $("$breakdown" groups)"
  sleep 0.3
done
[[ $(records actions) == "$before" ]] || fail "publishing the same events again added actions"

echo "== deliver the four sample webhooks, signed"
deliver() { # provider, file
  "$breakdown" deliver --provider "$1" --file "samples/deliveries/$2.json"
}
mapfile -t ids < <({
  deliver github github-issue-opened-p0
  deliver github github-issue-labeled-frontend
  deliver jira jira-issue-created-overdue
  deliver github github-issue-opened-triage
} | tee /dev/stderr | sed 's/.*"event_id":"\([^"]*\)".*/\1/')
expect 5f8c1d2e9a4b3c0071e6d5aa
await_outcomes "${ids[@]}"

echo "== a due date passes without any webhook"
"$breakdown" publish --file - --json >"$run/due.json" <<EVENT
{"project_id": "alpha", "source": "github", "type": "issue_updated", "repo": "acme/payments", "issue_number": $((RANDOM + 1000)),
 "assignee": "priya-n", "state": "open", "due_at": "$(date -u -d '+4 seconds' +%FT%TZ)"}
EVENT
issue=$("$breakdown" tail issues --json | grep -F "$(sed 's/.*"event_id":"\([^"]*\)".*/\1/' "$run/due.json")" | sed 's/.*"issue_ref":"\([^"]*\)".*/\1/')
deadline=$((SECONDS + 60))
until "$breakdown" issue "$issue" --json >"$run/issue.json" 2>/dev/null && grep -q '"ack":true' "$run/issue.json"; do
  ((SECONDS < deadline)) || fail "nothing came of the due date: $(cat "$run/issue.json")"
  sleep 0.3
done
grep -q '"action":"schedule_unblocker"' "$run/issue.json" || fail "not an unblocker: $(cat "$run/issue.json")"
grep -q '"cause":"t-' "$run/issue.json" || fail "not by a timer: $(cat "$run/issue.json")"
echo "$issue: schedule_unblocker, done"

echo "== a forged webhook changes nothing"
issues=$(records issues)
answer=$(FORGED=guess "$breakdown" deliver --provider github --secret-env FORGED \
  --file samples/deliveries/github-issue-opened-p0.json) && fail "a forged delivery was accepted: $answer"
[[ $answer == "401 "* ]] || fail "a forged delivery was not answered 401: $answer"
[[ $(records issues) == "$issues" ]] || fail "a forged delivery is on the log"
echo "the flow holds"
