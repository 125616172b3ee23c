// Replicate's JavaScript client, told only its base URL (with /v1) and a token.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { afterEach, suite, test } from 'node:test'
import { keyedFetch } from '../keyed-fetch.mjs'
import * as around from '../surroundings.mjs'

const { BASE_URL, DEV, NARROW_TOKEN, PNG, PROXIED, SCHNELL, SDXL, SMALL, TOKEN, newPrompt, until } = around
const Replicate = around.load('replicate')
const { parseProgressFromLogs, validateWebhook } = Replicate

const client = new Replicate({ auth: TOKEN, baseUrl: BASE_URL })
const proxied = new Replicate({ auth: TOKEN, baseUrl: PROXIED })
const given = (more) => ({ prompt: 'a quiet harbour', ...SMALL, ...more })
const latest = async (model) => (await client.models.get(...model.split('/'))).latest_version.id

async function checkImages(output, number) {
  around.checkImages(await Promise.all(output.map(async (file) => (await file.blob()).arrayBuffer())), number)
}

// Checks how something is refused, and gives the client's words.
async function refusal(status, doing) {
  const error = await doing.then(
    () => assert.fail('it was not refused'),
    (error) => error,
  )
  assert.equal(error.response?.status, status, error)
  return error.message
}

afterEach(async () => {
  await around.behave()
  await around.lose()
})

suite('run', () => {
  test('a model by its name, and read four different images', async () => {
    const output = await client.run(SCHNELL, { input: given({ num_outputs: 4 }) })
    await checkImages(output, 4)
    assert.ok(output[0].url().href.startsWith(BASE_URL.replace('/v1', '/files/')))
  })

  for (const model of [SDXL, SCHNELL, 'simulated-user/flux-lora']) {
    test(`${model} with the hash that it shows`, async () => {
      const output = await client.run(`${model}:${await latest(model)}`, { input: { prompt: 'a fox', num_outputs: 2 } })
      await checkImages(output, 2)
    })
  }

  test('a model of one image, which gives one file', async () => {
    await checkImages([await client.run('black-forest-labs/flux-1.1-pro', { input: { prompt: 'a fox' } })], 1)
  })

  test('with a Buffer as input', async () => {
    const prompt = newPrompt()
    await checkImages(await client.run(DEV, { input: given({ prompt, image: PNG }) }), 1)
    assert.deepEqual(await around.fetched(prompt), [['image', 200, PNG.length]])
  })

  test('with a File as input', async () => {
    const prompt = newPrompt()
    const image = new File([PNG], 'fox.png', { type: 'image/png' })
    await checkImages(await client.run(DEV, { input: given({ prompt, image }) }), 1)
    assert.deepEqual(await around.fetched(prompt), [['image', 200, PNG.length]])
    const { results } = await client.files.list()
    assert.ok(results.some((file) => file.name === 'fox.png' && file.content_type === 'image/png'))
  })

  test('with progress, which begins with starting and ends with succeeded', async () => {
    const seen = []
    await client.run(DEV, { input: given(), wait: { mode: 'poll', interval: 100 } }, (one) => seen.push(one))
    assert.deepEqual([seen[0].status, seen.at(-1).status], ['starting', 'succeeded'])
    assert.equal(parseProgressFromLogs(seen.at(-1)).percentage, 1)
  })

  const waits = {
    'usual wait': undefined,
    'mode block, one second': { mode: 'block', timeout: 1 },
    'mode poll': { mode: 'poll', interval: 100 },
  }
  for (const [name, wait] of Object.entries(waits)) {
    test(`a job that outlasts the wait (${name})`, async () => {
      await checkImages(await around.outlasts(() => proxied.run(SCHNELL, { input: given({ num_outputs: 2 }), wait })), 2)
    })
  }

  test('a prediction that fails, and say what Replicate said', async () => {
    await around.misbehave({ on: 'prediction', kind: 'fail', error: 'E1001: out of memory', times: 1 })
    await assert.rejects(client.run(SCHNELL, { input: given() }), { message: 'Prediction failed: E1001: out of memory' })
  })

  test('until it is aborted, which cancels the prediction', async () => {
    await around.hold()
    const stopping = new AbortController()
    let id
    const stop = (prediction) => {
      id = prediction.id
      stopping.abort()
    }
    const wait = { mode: 'poll', interval: 100 }
    assert.equal(await client.run(SCHNELL, { input: given(), wait, signal: stopping.signal }, stop), null)
    await until(async () => (await client.predictions.get(id)).status === 'canceled')
  })

  test('a model of words, which come as a list, and are not streamed', async () => {
    const text = `simulated-user/text:${await latest('simulated-user/text')}`
    const words = await client.run(text, { input: { prompt: 'a word' } })
    assert.ok(words.join('').startsWith('You asked for a word'))
    const streaming = client.stream(text, { input: { prompt: 'a word' } })
    await assert.rejects(streaming.next(), { message: 'Prediction does not support streaming' })
  })
})

suite('predictions, step by step', () => {
  const creates = {
    'by model': () => client.predictions.create({ model: SCHNELL, input: given() }),
    'by hash': async () => client.predictions.create({ version: await latest(SDXL), input: { prompt: 'a fox' } }),
    'on a deployment': () => client.deployments.predictions.create('simulated-user', 'fast-flux', { input: given() }),
  }
  for (const [name, create] of Object.entries(creates)) {
    test(`create ${name}, wait and read`, async () => {
      const made = await create()
      assert.equal(made.status, 'starting')
      const ended = await client.wait(made, { interval: 100 })
      assert.deepEqual([ended.status, ended.error, ended.output.length], ['succeeded', null, 1])
      assert.equal((await client.predictions.get(made.id)).completed_at, ended.completed_at)
    })
  }

  test('create and wait for the answer', async () => {
    const made = await client.predictions.create({ model: SCHNELL, input: given(), wait: 20 })
    assert.deepEqual([made.status, made.output.length], ['succeeded', 1])
  })

  test('cancel, and cancel again', async () => {
    await around.hold()
    const made = await client.predictions.create({ model: SCHNELL, input: given() })
    await client.predictions.cancel(made.id)
    assert.equal((await client.wait(made, { interval: 100 })).status, 'canceled')
    assert.equal((await client.predictions.cancel(made.id)).status, 'canceled')
  })

  test('cancel what has succeeded, which changes nothing', async () => {
    const made = await client.predictions.create({ model: SCHNELL, input: given() })
    await client.wait(made, { interval: 100 })
    assert.equal((await client.predictions.cancel(made.id)).status, 'succeeded')
  })

  test('page through all', async () => {
    const made = await client.predictions.create({ model: SCHNELL, input: given() })
    const pages = []
    for await (const page of client.paginate(client.predictions.list)) pages.push(page.map((one) => one.id))
    const ids = pages.flat()
    assert.ok(pages.length > 1 && pages[0].includes(made.id))
    assert.ok(ids.length > around.OLD_JOBS)
    assert.equal(new Set(ids).size, ids.length)
    await client.wait(made, { interval: 100 })
  })
})

suite('everything else', () => {
  test('train, read, list and cancel, and run what was trained', async () => {
    const version = await latest('ostris/flux-dev-lora-trainer')
    const input = { input_images: 'https://example.com/images.zip', trigger_word: 'FOXY', steps: 1000 }
    const destination = 'simulated-user/third-lora'
    const train = () => client.trainings.create('ostris', 'flux-dev-lora-trainer', version, { destination, input })
    const status = async (training) => (await client.trainings.get(training.id)).status
    const first = await train()
    await until(async () => (await status(first)) === 'succeeded')
    const { output } = await client.trainings.get(first.id)
    assert.ok(output.version.startsWith(`${destination}:`))
    await around.hold()
    const second = await train()
    await client.trainings.cancel(second.id)
    const listed = (await client.trainings.list()).results.map((one) => one.id)
    assert.deepEqual(new Set(listed), new Set([first.id, second.id]))
    await until(async () => (await status(second)) === 'canceled')
    await around.behave()
    await checkImages(await client.run(output.version, { input: { prompt: 'FOXY', num_outputs: 1 } }), 1)
  })

  test('models, versions and the account', async () => {
    const names = []
    for await (const page of client.paginate(client.models.list)) names.push(...page.map((one) => `${one.owner}/${one.name}`))
    assert.ok(names.includes(SCHNELL))
    const id = await latest(SDXL)
    assert.equal((await client.models.versions.get('stability-ai', 'sdxl', id)).id, id)
    assert.equal((await client.accounts.current()).type, 'organization')
  })

  test('upload, read, list and delete a file', async () => {
    const made = await client.files.create(new File([PNG], 'fox.png', { type: 'image/png' }), { who: 'é' })
    assert.deepEqual([made.size, made.metadata], [PNG.length, { who: 'é' }])
    assert.equal((await client.files.get(made.id)).id, made.id)
    assert.ok((await client.files.list()).results.some((one) => one.id === made.id))
    assert.equal(await client.files.delete(made.id), true)
    await refusal(404, client.files.get(made.id))
  })

  test('a file that is too large is refused with the way out', async () => {
    assert.match(await refusal(413, client.files.create(Buffer.alloc(around.FILES_LIMIT + 1))), /POST \/uploads/)
  })

  test('a webhook is verified by validateWebhook', async () => {
    const calls = []
    const server = createServer(async (request, response) => {
      const chunks = await request.toArray()
      calls.push({ headers: request.headers, body: Buffer.concat(chunks).toString() })
      response.end()
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    const webhook = `http://127.0.0.1:${server.address().port}/hook`
    const asked = { model: SCHNELL, input: given(), webhook, webhook_events_filter: ['completed'] }
    const made = await client.predictions.create(asked)
    await until(() => calls.length)
    server.closeAllConnections()
    server.close()
    const [{ headers, body }] = calls
    const { key } = await client.webhooks.default.secret.get()
    assert.equal(JSON.parse(body).id, made.id)
    assert.equal(await validateWebhook({ headers, body }, key), true)
    assert.equal(await validateWebhook({ headers, body: `${body} ` }, key), false)
  })
})

suite('refusals and repeats', () => {
  test('a bad token is refused', async () => {
    const stranger = new Replicate({ auth: 'r8_nonsense', baseUrl: BASE_URL })
    assert.match(await refusal(401, stranger.run(SCHNELL, { input: given() })), /not valid/)
  })

  test('a wrong input is refused by name, not repeated and not paid', async () => {
    const prompt = newPrompt()
    const running = proxied.run(SCHNELL, { input: given({ prompt, num_outputs: 9 }) })
    assert.match(await refusal(422, running), /input\.num_outputs/)
    assert.equal((await around.posts()).length, 1)
    assert.equal(await around.paid(prompt), 0)
  })

  test('a wrong base URL is told', async () => {
    const wrong = new Replicate({ auth: TOKEN, baseUrl: BASE_URL.replace('/v1', '') })
    assert.match(await refusal(404, wrong.run(SCHNELL, { input: given() })), /with \/v1/)
  })

  test('the burst of repeats on 429 is harmless', async () => {
    const narrow = new Replicate({ auth: NARROW_TOKEN, baseUrl: PROXIED })
    await around.hold()
    const made = await narrow.predictions.create({ model: SCHNELL, input: given() })
    await around.lose()
    const prompt = newPrompt()
    await refusal(429, narrow.run(SCHNELL, { input: given({ prompt }) }))
    assert.deepEqual((await around.posts()).map((one) => one.status), Array(6).fill(429))
    assert.equal(await around.paid(prompt), 0)
    await around.behave()
    assert.equal((await narrow.wait(made, { interval: 100 })).status, 'succeeded')
  })

  for (const way of ['POST cut', 'POST error', 'POST truncate']) {
    test(`with keyedFetch a create whose answer is lost (${way}) is paid once`, async () => {
      const keyed = new Replicate({ auth: TOKEN, baseUrl: PROXIED, fetch: keyedFetch })
      const prompt = newPrompt()
      await around.lose(way, way)
      const run = () => keyed.run(SCHNELL, { input: given({ prompt }) })
      // What it does not repeat by itself, its caller does.
      const output = await (way === 'POST error' ? run().catch(run).catch(run) : run())
      await checkImages(output, 1)
      const sent = await around.posts()
      assert.equal(sent.length, 3)
      assert.equal(new Set(sent.map((one) => one.headers['idempotency-key'])).size, 1)
      assert.equal(await around.paid(prompt), 1)
    })
  }

  test('with keyedFetch twins stay two, and so does a second request', async () => {
    const keyed = new Replicate({ auth: TOKEN, baseUrl: PROXIED, fetch: keyedFetch })
    const prompt = newPrompt()
    const run = () => keyed.run(SCHNELL, { input: given({ prompt }) })
    await around.lose('POST cut', 'POST cut')
    const twins = await around.together(2, () => Promise.all([run(), run()]))
    await checkImages([...twins.flat(), ...(await run())], 3)
    assert.equal(await around.paid(prompt), 3)
  })
})
