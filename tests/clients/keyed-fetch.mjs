// A fetch that makes repeats safe: a POST whose answer did not arrive leaves its key to the next one that is the same.
const unanswered = []

export async function keyedFetch(url, init = {}) {
  if (init.method !== 'POST' || typeof init.body !== 'string') return fetch(url, init)
  const asked = `${url} ${init.body}`
  const before = unanswered.findIndex((one) => one.asked === asked)
  const key = before < 0 ? crypto.randomUUID() : unanswered.splice(before, 1)[0].key
  const headers = new Headers(init.headers)
  headers.set('Idempotency-Key', key)
  try {
    const response = await fetch(url, { ...init, headers })
    const body = await response.arrayBuffer()
    if (response.status >= 500) unanswered.push({ asked, key })
    return new Response(body, response)
  } catch (error) {
    unanswered.push({ asked, key })
    throw error
  }
}
