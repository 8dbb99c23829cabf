"""The same job as Breakdown's receiver, as one would write it with FastAPI and aiokafka: read the body, verify its signature, make
the event of it, produce it keyed by its project, answer 202 when all in-sync replicas have it.

Usage: python server.py PORT BROKERS   (port 0 takes a free one; the secret is GITHUB_WEBHOOK_SECRET)
"""

import hashlib
import hmac
import os
import socket
import sys
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import orjson
import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Request, Response

TOPIC = "issues"
PROJECT = "alpha"
MAX_BYTES = 25 * 1024 * 1024
TYPES = {"opened": "issue_opened", "closed": "issue_closed", "reopened": "issue_reopened", "deleted": "issue_deleted"}
SECRET = os.environ["GITHUB_WEBHOOK_SECRET"].encode()


@asynccontextmanager
async def lifespan(app: FastAPI):
    # aiokafka gathers by itself what comes while a request is under way; a linger on top only makes everybody wait.
    producer = AIOKafkaProducer(bootstrap_servers=sys.argv[2], client_id="bench-fastapi", acks="all", enable_idempotence=True)
    await producer.start()
    app.state.producer = producer
    yield
    await producer.stop()


app = FastAPI(lifespan=lifespan, openapi_url=None)


def answer(status: int, body: dict) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def event(payload: dict, delivery: str) -> dict:
    issue, repository = payload["issue"], payload["repository"]
    host, repo = urlsplit(repository["html_url"]).hostname, repository["full_name"]
    assignee = issue.get("assignee")
    return {
        "event_id": "gh-" + hashlib.sha256(f"{host}\0{delivery}".encode()).hexdigest()[:32],
        "project_id": PROJECT,
        "source": "github",
        "type": TYPES.get(payload["action"], "issue_updated"),
        "issue_ref": f"github:{repo}#{issue['number']}",
        "repo": repo,
        "issue_number": issue["number"],
        "title": issue["title"],
        "url": issue["html_url"],
        "labels": [label["name"] for label in issue["labels"]],
        "assignee": assignee and assignee["login"],
        "status": issue["state"],
        "state": issue["state"],
        "created_at": issue["created_at"],
        "updated_at": issue["updated_at"],
        "actor": payload["sender"]["login"],
        "delivery_id": delivery,
    }


@app.post("/github/issues")
async def issues(request: Request) -> Response:
    signature = request.headers.get("x-hub-signature-256")
    if not signature:
        return answer(401, {"title": "no signature"})
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            return answer(413, {"title": "too large"})
    claimed = "sha256=" + hmac.digest(SECRET, body, "sha256").hex()
    if not hmac.compare_digest(claimed.encode(), signature.encode()):
        return answer(401, {"title": "wrong signature"})
    try:
        made = event(orjson.loads(body), request.headers["x-github-delivery"])
    except (ValueError, KeyError, TypeError):
        return answer(400, {"title": "unreadable"})
    kept = await app.state.producer.send_and_wait(TOPIC, orjson.dumps(made), key=PROJECT.encode())
    return answer(202, {"event_id": made["event_id"], "topic": TOPIC, "partition": kept.partition, "offset": kept.offset})


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)
    print(f"  webhooks   http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])
