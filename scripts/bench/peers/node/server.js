// The same job as Breakdown's receiver, as one would write it with @octokit/webhooks and kafkajs: read the body, verify its
// signature, make the event of it, produce it keyed by its project, answer 202 when all in-sync replicas have it.
//
// Usage: node server.js PORT BROKERS [plain]   (port 0 takes a free one; the secret is GITHUB_WEBHOOK_SECRET)

import { createHash } from 'node:crypto'
import { createServer } from 'node:http'

import { Webhooks } from '@octokit/webhooks'
import { Kafka, logLevel } from 'kafkajs'

const TOPIC = 'issues'
const PROJECT = 'alpha'
const MAX_BYTES = 25 * 1024 * 1024
const TYPES = { opened: 'issue_opened', closed: 'issue_closed', reopened: 'issue_reopened', deleted: 'issue_deleted' }

const [port, brokers, mode] = process.argv.slice(2)
const webhooks = new Webhooks({ secret: process.env.GITHUB_WEBHOOK_SECRET })
const kafka = new Kafka({ clientId: 'bench-node', brokers: brokers.split(','), logLevel: logLevel.ERROR })
const producer = kafka.producer({ idempotent: true, allowAutoTopicCreation: false })

// One `send` a request, as the documentation of kafkajs shows it.
async function producePlain(message) {
  const [{ partition, baseOffset }] = await producer.send({ topic: TOPIC, acks: -1, messages: [message] })
  return { partition, offset: Number(baseOffset) }
}

// kafkajs makes one request of each `send`, and does not gather records by itself. So here what comes while one is under way goes
// with the next: nobody waits for a timer, and under load a request carries many records.
let waiting = []
let sending = false

function produceGathered(message) {
  return new Promise((resolve, reject) => {
    waiting.push({ message, resolve, reject })
    if (!sending) flush()
  })
}

async function flush() {
  sending = true
  while (waiting.length > 0) {
    const batch = waiting
    waiting = []
    try {
      const [{ partition, baseOffset }] = await producer.send({
        topic: TOPIC,
        acks: -1,
        messages: batch.map((entry) => entry.message),
      })
      // All have one key, so they lie in one partition, in this order.
      const first = Number(baseOffset)
      batch.forEach((entry, nth) => entry.resolve({ partition, offset: first + nth }))
    } catch (error) {
      batch.forEach((entry) => entry.reject(error))
    }
  }
  sending = false
}

const produce = mode === 'plain' ? producePlain : produceGathered

function read(request) {
  return new Promise((resolve, reject) => {
    const chunks = []
    let length = 0
    request.on('data', (chunk) => {
      length += chunk.length
      if (length > MAX_BYTES) reject(Object.assign(new Error('too large'), { status: 413 }))
      else chunks.push(chunk)
    })
    request.on('end', () => resolve(Buffer.concat(chunks, length)))
    request.on('error', reject)
  })
}

function event(payload, delivery) {
  const { action, issue, repository, sender } = payload
  const url = new URL(repository.html_url)
  return {
    event_id: `gh-${createHash('sha256').update(url.host).update('\0').update(delivery).digest('hex').slice(0, 32)}`,
    project_id: PROJECT,
    source: 'github',
    type: TYPES[action] ?? 'issue_updated',
    issue_ref: `github:${repository.full_name}#${issue.number}`,
    repo: repository.full_name,
    issue_number: issue.number,
    title: issue.title,
    url: issue.html_url,
    labels: issue.labels.map((label) => label.name),
    assignee: issue.assignee?.login ?? null,
    status: issue.state,
    state: issue.state,
    created_at: issue.created_at,
    updated_at: issue.updated_at,
    actor: sender.login,
    delivery_id: delivery,
  }
}

function answer(response, status, body) {
  const text = JSON.stringify(body)
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

async function handle(request, response) {
  if (request.method !== 'POST' || request.url !== '/github/issues') return answer(response, 404, { title: 'no such path' })
  const signature = request.headers['x-hub-signature-256']
  if (!signature) return answer(response, 401, { title: 'no signature' })
  const body = (await read(request)).toString('utf8')
  if (!(await webhooks.verify(body, signature))) return answer(response, 401, { title: 'wrong signature' })
  let made
  try {
    made = event(JSON.parse(body), request.headers['x-github-delivery'])
  } catch {
    return answer(response, 400, { title: 'unreadable' })
  }
  const { partition, offset } = await produce({ key: made.project_id, value: JSON.stringify(made) })
  answer(response, 202, { event_id: made.event_id, topic: TOPIC, partition, offset })
}

await producer.connect()
const server = createServer((request, response) => {
  handle(request, response).catch((error) => answer(response, error.status ?? 503, { title: 'not taken' }))
})
server.listen(Number(port), '127.0.0.1', () => console.log(`  webhooks   http://127.0.0.1:${server.address().port}`))
