#!/usr/bin/env python3
"""Writes what fuzzing begins with: seeds.py INTO, from the samples, and from GitHub's own examples where they were fetched.

INTO/TARGET/ gets inputs, in the form that the target's module describes, and INTO/TARGET.dict the words in them."""
import hashlib
import json
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
into = pathlib.Path(sys.argv[1])
words = {}


def seed(target, data):
    data = data if isinstance(data, bytes) else data.encode()
    (into / target).mkdir(parents=True, exist_ok=True)
    (into / target / hashlib.sha1(data).hexdigest()).write_bytes(data)
    found = re.findall(rb"[A-Za-z_][A-Za-z_./:-]{2,23}", data)
    for word in found:
        words.setdefault(target, {}).setdefault(word, 0)
        words[target][word] += 1


def text(path):
    return (root / path).read_text()


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


for path in sorted((root / "samples/deliveries").glob("*.json")):
    target = path.name.split("-")[0]
    event = "issue_comment" if "comment" in path.name else "issues"
    seed(target, f"{event}\n" + compact(json.loads(path.read_text())))
for example in sorted(root.glob("target/octokit/*/api.github.com/index.json")):
    for kind in json.loads(example.read_text()):
        if kind["name"] in ("issues", "issue_comment", "milestone", "ping", "label"):
            for payload in kind["examples"]:
                seed("github", kind["name"] + "\n" + compact(payload))
seed("github", "issues\tapplication/x-www-form-urlencoded\npayload=%7B%22action%22%3A+%22opened%22%7D")
seed("jira", "\n" + compact({"timestamp": 1770026400000, "webhookEvent": "comment_created", "comment": {
    "self": "https://acme.atlassian.net/rest/api/2/issue/10001/comment/1", "author": {"accountId": "5d3e"},
    "created": "2026-02-02T10:00:00.000+0000"}, "issue": {"id": "10001", "key": "OPS-7", "fields": {"summary": "x",
    "project": {"key": "OPS"}}}}))
seed("jira", "\n" + compact({"timestamp": 1770026400000, "webhookEvent": "jira:issue_updated", "user": {"accountId": "5d3e"},
    "issue": {"id": "10001", "self": "https://acme.atlassian.net/rest/api/2/10001", "key": "OPS-7", "fields": {
    "summary": "x", "labels": ["a"], "duedate": "2026-02-09", "priority": {"name": "High"}, "assignee": None,
    "status": {"name": "Done", "statusCategory": {"key": "done"}}, "updated": "2026-02-02T10:00:00.000-0800"}},
    "changelog": {"id": "1", "items": [{"field": "status", "fieldId": "status", "from": "1", "fromString": "To Do",
    "to": "3", "toString": "Done"}, {"field": "labels", "fieldId": "labels", "fromString": "", "toString": "a"}]}}))

seed("github", "issue_comment\n" + compact({"action": "created", "comment": {"body": "/ack\n"}, "issue": {"number": 1,
    "state": "open"}, "repository": {"full_name": "o/r"}, "sender": {"login": "kim", "type": "User"}}))
right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
pagerduty = right.replace("sha256", "v1")
for lines in (f"{pagerduty},v1={'0' * 64}\n{{}}", f"v2=x, {pagerduty}\nHello, World!", "{}", f"{right}\nHello, World!", f"{right}\n{right}\nx", "sha1=00\n{}", right.upper() + "\n"):
    seed("signature", lines)

for request in (
    f"POST /github/issues HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nx-github-event: ping\r\n"
    f"x-hub-signature-256: {right}\r\ncontent-length: 13\r\n\r\nHello, World!GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n",
    "POST /jira/issues HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "POST /jira/issues HTTP/1.1\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "POST /github/issues HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n{}",
):
    seed("wire", request)

for path in [root / "samples/policy.yaml", *sorted((root / "samples/policies").glob("*.yaml"))]:
    if not path.name.endswith(".test.yaml"):
        seed("policy", path.read_text())
        for when in re.findall(r"^ *when: *'(.*)' *(?:#.*)?$", path.read_text(), re.M):
            seed("condition", when.replace("''", "'"))
for fence in re.findall(r"```yaml\n(.*?)```", text("docs/policy.md"), re.S):
    seed("policy", fence)
for code in re.findall(r"`([^`\n]+)`", text("docs/policy.md")):
    if re.search(r"issue\.|event\.|now|\(", code):
        seed("condition", code)
for path in [root / "samples/policy.test.yaml", *sorted((root / "samples/policies").glob("*.test.yaml"))]:
    seed("cases", path.read_text())

events = [json.loads(line) for line in text("fuzz/src/history.ndjson").splitlines()]
for event in events:
    seed("records", "issues\n" + event["project_id"] + "\n" + compact(event))
seed("records", "\n".join("issues\nalpha\n" + compact(event) for event in events))
seed("records", "outcomes\nalpha\n" + compact({"event_id": "o-1", "project_id": "alpha", "risk_delta": -0.3, "ack": True,
    "action_id": "a-1", "action": "escalate_owner", "target": "team:platform", "attempts": 1,
    "at": "2026-02-02T10:00:00Z", "supersedes": "o-0"}))
action = {"event_id": "a-1", "project_id": "alpha", "action": "post_nudge", "target": "owner:x", "rationale": "r",
    "source_ref": "https://github.com/acme/checkout/issues/1", "issue_ref": "github:acme/checkout#1", "cause": "gh-1",
    "rule": "r", "policy_hash": "00", "evaluated_at": "2026-02-02T10:00:00Z", "params": {"duration": "15m"}}
seed("records", "actions\nalpha\n" + compact(action))
seed("records", "executor-state\na-1\n" + compact({"state": "pending", "accepted_at": "2026-03-02T10:00:00Z",
    "asked_at": "2026-03-02T09:59:00Z", "offset": 7, "attempts": 3, "parkings": 1,
    "next_attempt_at": "2026-03-02T10:00:05.250Z", "record": compact(action)})
    + "\nexecutor-state\na-1\n" + compact({"state": "done", "finished_at": "2026-03-02T10:00:01Z"}) + "\nexecutor-state\na-1\n")
seed("records", "executor-state\ndeferred a-1\n" + compact({"state": "deferred", "offset": 7, "round": 1, "by": "notification",
    "project_id": "alpha", "action": "resolve", "takes_back": "a-0"}) + "\nexecutor-state\ndeferred a-1\n")
seed("records", "dead-letters\n\n" + compact({"event_id": "d-1", "origin": {"kind": "record", "topic": "issues", "partition": 0,
    "offset": 1}, "reason": "unreadable", "detail": "x", "at": "2026-02-02T10:00:00Z",
    "original": {"encoding": "base64", "data": "e30="}, "original_length": 2, "original_sha256": "00"}))
seed("records", "dead-letters\n\n" + compact({"event_id": "n-1", "letter_id": "d-1", "round": 1, "at": "2026-02-02T10:00:00Z",
    "became": {"kind": "appended", "topic": "issues", "partition": 0, "offset": 2}}))
said = {"event_id": "c-1", "project_id": "alpha", "paused": True, "at": "2026-02-02T10:00:00Z"}
seed("records", "control\nalpha\n" + compact(said) + "\nexecutor-state\ncontrol alpha\n" + compact({"state": "paused", "at": said["at"]}))
seed("records", "policies\n0\n" + compact({"partition": 0, "policy_hash": "00", "offsets": {"issues": 3},
    "at": "2026-02-02T10:00:00Z", "clock": None, "policy": "version: 1"}))

example = text("breakdown.example.toml")
seed("settings", example)
seed("settings", re.sub(r"(?m)^# (?=[a-z_]+ = )", "", example))

for shape in (events, [{"topic": "issues", "partition": 0, "offset": at, "key": event["project_id"], "headers": {},
        "timestamp": event["updated_at"], "value": event} for at, event in enumerate(events)]):
    seed("history", "\n".join(map(compact, shape)))
seed("history", "\n".join(text("samples/history.ndjson").splitlines()[:6]))

for target, found in words.items():
    often = sorted(found, key=lambda word: (-found[word], word))[:400]
    lines = ('"' + re.sub(r'(["\\])', r"\\\1", word.decode()) + '"' for word in often)
    (into / f"{target}.dict").write_text("\n".join(lines) + "\n")
