// What the clients' tests in JavaScript can do besides: hold Replicate up, and look at what came of a request.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { setTimeout } from 'node:timers/promises'

export const { BASE_URL, TOKEN, NARROW_TOKEN, PROXY_URL, SIMULATOR_URL, STACK_URL } = process.env
export const PROXIED = BASE_URL.replace(STACK_URL, PROXY_URL)
// What is installed is not beside the tests.
export const load = createRequire(process.env.PACKAGES)

export const SCHNELL = 'black-forest-labs/flux-schnell'
export const DEV = 'black-forest-labs/flux-dev'
export const SDXL = 'stability-ai/sdxl'
export const SMALL = { megapixels: '0.25' } // cheap to make
export const OLD_JOBS = 105 // that each tenant has from before: more than a page
export const FILES_LIMIT = 4 * 1024 * 1024
export const PNG = Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), Buffer.alloc(256, 1)])

let number = 0
export const newPrompt = () => `a quiet harbour, seen by ${process.pid} for the ${++number}. time`

export async function until(ask, seconds = 120) {
  const deadline = Date.now() + 1000 * seconds
  for (;;) {
    const answer = await ask()
    if (answer) return answer
    assert.ok(Date.now() < deadline, `not within ${seconds} s: ${ask}`)
    await setTimeout(50)
  }
}

// Checks that these are so many images as the models make them, and that no two are the same.
export function checkImages(contents, number) {
  const texts = contents.map((content) => Buffer.from(content).toString('latin1'))
  assert.equal(texts.length, number)
  for (const text of texts) assert.ok(text.slice(8, 12) === 'WEBP' || text.slice(1, 4) === 'PNG', text.slice(0, 200))
  assert.equal(new Set(texts).size, number)
}

async function json(url, init) {
  const response = await fetch(url, init)
  assert.ok(response.ok, `${url}: ${response.status}`)
  return response.json()
}

// Replicate

const faults = (list) => json(`${SIMULATOR_URL}/_simulator/faults`, { method: 'PUT', body: JSON.stringify(list) })
const seen = () => json(`${SIMULATOR_URL}/_simulator/calls`)

// Makes this Replicate's only fault.
export const misbehave = (fault) => faults([fault])
export const behave = () => faults([])
// Lets everything that starts from now on run until Replicate behaves.
export const hold = () => misbehave({ on: 'prediction', kind: 'held' })

export async function paid(prompt) {
  return (await seen()).predictions.filter((one) => one.input.prompt === prompt && one.charged).length
}

export async function fetched(prompt) {
  const { predictions, fetched } = await seen()
  const ids = new Set(predictions.filter((one) => one.input.prompt === prompt).map((one) => one.id))
  return fetched.filter((one) => ids.has(one.prediction)).map(({ field, status, bytes }) => [field, status, bytes])
}

// The proxy

// Lets the answers to the next requests be lost in these ways, such as `POST cut`, and forgets what came by.
export const lose = (...ways) => json(`${PROXY_URL}/_proxy`, { method: 'PUT', body: JSON.stringify(ways) })

export async function requests(method, part) {
  return (await json(`${PROXY_URL}/_proxy`)).filter((one) => one.method === method && one.path.includes(part))
}

export const posts = () => requests('POST', '/predictions')
const polled = async () => (await requests('GET', '/predictions/')).length > 0

// Runs a prediction that has not ended when the create is answered, and that ends once the client has polled.
// `ways` are how answers are lost meanwhile.
export async function outlasts(run, ...ways) {
  await lose(...ways)
  await hold()
  let isDone = false
  const running = run().finally(() => (isDone = true))
  running.catch(() => {}) // it is looked at below
  try {
    await until(async () => isDone || (await polled()))
  } finally {
    await behave()
  }
  const found = await running
  assert.ok(await polled(), `the client did not poll, and took for the output: ${found}`)
  return found
}

// Runs things of which the first POSTs are all under way before Replicate lets one end.
export async function together(count, run) {
  await hold()
  let isDone = false
  const running = run().finally(() => (isDone = true))
  running.catch(() => {})
  try {
    await until(async () => isDone || (await posts()).length >= count)
  } finally {
    await behave()
  }
  return running
}
