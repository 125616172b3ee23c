// A fetch for clients that do not poll: it answers when the prediction has ended, and as an error if it failed.
import { keyedFetch } from './keyed-fetch.mjs'

export async function pollingFetch(url, init = {}) {
  let response = await keyedFetch(url, init)
  if (init.method !== 'POST' || !response.ok) return response
  let job = await response.json()
  while (job.status === 'starting' || job.status === 'processing') {
    const seconds = response.headers.get('retry-after') ?? 1
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds))
    init.signal?.throwIfAborted()
    try {
      response = await fetch(job.urls.get, { headers: init.headers, signal: init.signal })
      if (response.ok) job = await response.json()
      else if (response.status < 500 && response.status !== 429) return response
    } catch {
      // It asks again: to give up here would be to pay for another prediction.
    }
  }
  if (job.status === 'succeeded') return Response.json(job)
  return Response.json({ detail: job.error ?? `The prediction was ${job.status}.` }, { status: 422 })
}
