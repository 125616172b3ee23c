// Vercel's AI SDK with its provider for Replicate, told only its base URL (with /v1) and a token.
import assert from 'node:assert/strict'
import { afterEach, suite, test } from 'node:test'
import { keyedFetch } from '../keyed-fetch.mjs'
import { pollingFetch } from '../polling-fetch.mjs'
import * as around from '../surroundings.mjs'

const { BASE_URL, DEV, PNG, PROXIED, SCHNELL, SDXL, SMALL, TOKEN, newPrompt } = around
const MAJORS = [
  ['6', around.load('ai-6').generateImage, around.load('@ai-sdk/replicate-2').createReplicate],
  ['7', around.load('ai-7').generateImage, around.load('@ai-sdk/replicate-3').createReplicate],
]

async function latest(model) {
  const response = await fetch(`${BASE_URL}/models/${model}`, { headers: { Authorization: `Bearer ${TOKEN}` } })
  return (await response.json()).latest_version.id
}

// Gives the error that something ends with; one after repeats tells the last.
async function failure(doing) {
  const error = await doing.then(
    () => assert.fail('it was not refused'),
    (error) => error,
  )
  return error.lastError ?? error
}

afterEach(async () => {
  await around.behave()
  await around.lose()
})

for (const [major, generateImage, createReplicate] of MAJORS) {
  const provider = createReplicate({ apiToken: TOKEN, baseURL: BASE_URL })
  const behindProxy = (fetch) => createReplicate({ apiToken: TOKEN, baseURL: PROXIED, fetch })

  const generate = ({ using = provider, model = SCHNELL, prompt = 'a quiet harbour', options = SMALL, ...more }) =>
    generateImage({ model: using.image(model), prompt, providerOptions: { replicate: options }, ...more })
  const SOON = { ...SMALL, maxWaitTimeInSeconds: 1 }
  const check = ({ images }, number) => around.checkImages(images.map((image) => image.uint8Array), number)

  suite(`AI SDK ${major}`, () => {
    test('generates an image', async () => check(await generate({ aspectRatio: '16:9', seed: 7 }), 1))

    test('generates four different images with n: 4, as four predictions', async () => {
      const prompt = newPrompt()
      check(await generate({ prompt, n: 4 }), 4)
      assert.equal(await around.paid(prompt), 4)
    })

    test('generates an image with owner/name:hash', async () => {
      check(await generate({ model: `${SDXL}:${await latest(SDXL)}`, options: {} }), 1)
    })

    test('generates an image from another', async () => {
      check(await generate({ model: DEV, prompt: { text: 'a fox', images: [PNG] } }), 1)
    })

    test('shows why a bad token is refused', async () => {
      const using = createReplicate({ apiToken: 'r8_nonsense', baseURL: BASE_URL })
      assert.match((await failure(generate({ using }))).message, /not valid/)
    })

    test('shows which input is wrong, and does not repeat it', async () => {
      const prompt = newPrompt()
      const refused = await failure(generate({ using: behindProxy(), prompt, options: { output_quality: 7, megapixels: '9' } }))
      assert.match(refused.message, /input\.megapixels/)
      assert.equal((await around.posts()).length, 1)
      assert.equal(await around.paid(prompt), 0)
    })

    if (major === '6') {
      test('does not poll, and so fails where a job outlasts the wait', async () => {
        await around.hold()
        assert.match((await failure(generate({ using: behindProxy(), options: SOON }))).message, /Invalid JSON response/)
        assert.equal((await around.requests('GET', '/predictions/')).length, 0)
      })
    } else {
      test('polls by itself where a job outlasts the wait', async () => {
        check(await around.outlasts(() => generate({ using: behindProxy(), options: SOON })), 1)
      })
    }

    for (const [name, options] of [['usual wait', SMALL], ['one second', SOON]]) {
      test(`with pollingFetch gets the image of a job that outlasts the wait (${name})`, async () => {
        check(await around.outlasts(() => generate({ using: behindProxy(pollingFetch), options })), 1)
      })
    }

    test('with pollingFetch asks again where an answer is lost while it polls', async () => {
      const prompt = newPrompt()
      const run = () => generate({ using: behindProxy(pollingFetch), prompt, options: SOON })
      check(await around.outlasts(run, 'GET cut', 'GET error', 'GET truncate'), 1)
      assert.equal((await around.posts()).length, 1)
      assert.equal(await around.paid(prompt), 1)
    })

    test('with pollingFetch shows why a prediction failed, and does not repeat it', async () => {
      await around.misbehave({ on: 'prediction', kind: 'fail', error: 'E1001: out of memory' })
      const failed = await failure(generate({ using: behindProxy(pollingFetch), options: SOON }))
      assert.equal(failed.message, 'E1001: out of memory')
      assert.equal((await around.posts()).length, 1)
    })

    for (const way of ['POST cut', 'POST error']) {
      test(`with keyedFetch repeats what got no answer (${way}) and pays once`, async () => {
        const prompt = newPrompt()
        await around.lose(way)
        check(await generate({ using: behindProxy(keyedFetch), prompt }), 1)
        const sent = await around.posts()
        assert.equal(sent.length, 2)
        assert.equal(new Set(sent.map((one) => one.headers['idempotency-key'])).size, 1)
        assert.equal(await around.paid(prompt), 1)
      })
    }

    test('with pollingFetch repeats n: 4 and pays for four different images', async () => {
      const prompt = newPrompt()
      await around.lose('POST cut', 'POST cut', 'POST cut')
      check(await around.together(4, () => generate({ using: behindProxy(pollingFetch), prompt, n: 4 })), 4)
      assert.equal(await around.paid(prompt), 4)
    })
  })
}
