"""A Replicate that runs on this machine, takes no money, and misbehaves when told to.

It is a judge, so it uses nothing of the project: its bounds, errors, signatures and retry rules are Replicate's
published ones. Three listeners on 127.0.0.1:

- `replicate_url` plays `https://api.replicate.com`:
  - create predictions: `/v1/predictions`, `/v1/models/{owner}/{name}/predictions`,
    `/v1/deployments/{owner}/{name}/predictions`; get, list and cancel them;
  - create trainings: `/v1/models/{owner}/{name}/versions/{version}/trainings`; get, list and cancel them under
    `/v1/trainings`;
  - list, read and create models, read their versions with schemas, list and read deployments;
  - the account (`simulated-user`), and the webhook secret.
- `delivery_url` plays `https://replicate.delivery`: the output files, until they expire.
- `simulator_url` is the control port, which Replicate does not have.

Run it with `python -m infra.local.simulator --api-token … --webhook-secret whsec_…` (`--help` names the rest); one
line of JSON with the three URLs says that it is ready. In a test: `with Simulator(api_token=…, webhook_secret=…) as
s`.

## What it makes

One prediction takes about 0.4 s: `starting`, `processing` with tqdm bars in the logs, its files, `succeeded`. An
answer held by `Prefer: wait` comes, as Replicate's does, with all files while the status still says `processing`;
when the wait runs out, it says `starting`, with 202. Images are real, in the asked format, size and number, and
depend only on prompt, seed and index; without a seed one is drawn, and the logs say `Using seed: N`. Without
`webhook_events_filter`, `output` and `completed` are sent. Unknown inputs are ignored, `null` is refused. Unlike
Replicate's, a webhook's URL may be `http:`.

Words in a prompt that make the safety checker of a model of images work: with `nsfw-one` it drops one image; with
`nsfw-all` the prediction fails with Replicate's text (SDXL with its own); with `nsfw-empty` it succeeds with an empty
list, or `null` where the model gives a single image.

## Files and secrets that are given

When a prediction or training starts, each input of format `uri` (`image`, `mask`, `image_prompt`, `input_image`,
`input_images`) is read as a real model would: an `http:` or `https:` URL on this machine (`127.0.0.1`, `localhost`,
`::1`) is fetched, redirects within this machine included, within 60 s and 20 MB; certificates are not checked. What is
elsewhere is never contacted, and taken to be there. Any answer but 200 fails the prediction (`404 Client Error: Not
Found for url: …`), as does a `data:` URI that does not decode. A training's images must be a zip file where they can
be read. The control port tells what was fetched.

The inputs `hf_api_token`, `civitai_api_token`, `hf_token` and `wandb_api_key` are secrets of the models that have
them: documents, lists and webhooks show `[REDACTED]`, and the simulator keeps only their SHA-256.

## Models

Those of images: black-forest-labs/flux-schnell, flux-dev, flux-dev-lora, flux-schnell-lora, flux-1.1-pro,
flux-1.1-pro-ultra, flux-kontext-pro, -max and -dev; stability-ai/sdxl and simulated-user/flux-lora (a fine-tuned
Flux), which need a version; ostris/flux-dev-lora-trainer, which trains.

Those of other shapes need a version, but for the last. All take `prompt` unless said otherwise:

- `simulated-user/text` gives a list of tokens (strings) that grows while it runs: the `output` of a prediction that
  is `processing`, and its `output` webhooks, hold the first of them.
- `simulated-user/segments` gives `{"image": url, "masks": [{"label": "cat", "mask": url}, {"label": "sofa", …}],
  "score": 0.9, "source": "https://example.com/page"}`: files, values, and a URL that is only data.
- `simulated-user/batches` gives a list of lists of URLs: two files, then one.
- `simulated-user/inline` gives an image as a `data:` URI.
- `simulated-user/caption` gives one string of text.
- `simulated-user/nothing` gives `null`.
- `simulated-user/hostile-output` takes `url`, and gives it back as its output, whatever it is.
- `meta/meta-llama-3-8b-instruct` is official, and gives what `simulated-user/text` does.

`GET /v1/models` lists the public ones, the newest first, ten a page (Replicate's have 25). `POST /v1/models` takes
owner, name, visibility, hardware, and description, github_url, paper_url, license_url and cover_image_url: 201; 400
with `errors` for what is wrong, hardware that Replicate does not offer (`gpu-t4`) too; 403 for another owner; 409 for
a name that is taken. A model without versions has `latest_version: null` and cannot be run.

Deployments: `simulated-user/fast-flux` runs black-forest-labs/flux-dev, `simulated-user/my-lora` runs
simulated-user/flux-lora. Their predictions carry `deployment`, and the version that runs.

## Trainings

A training takes about 1.5 s. Its body holds `destination`, `input`, `webhook` and `webhook_events_filter`, nothing
else; a destination that is not there, or belongs to another, is 404. Its **input is not looked at until it runs**, as
with Replicate: a training with a wrong input is taken with 201, and ends `failed` with pydantic's words
(`Prediction input failed validation: …`). The document is a prediction's, with `urls` under `/v1/trainings/` and
without the destination. The logs show bars of other things (`Downloading weights`, `Caching latents`) that come to
100% before the training's own, `flux_train_replicate:  43%|████▎     | 430/1000 […]`, begins.

At the end `output` is `{"version": "owner/name:<64 hex>", "weights": "https://…/trained_model.tar"}`, together with
the status; there is no `output` webhook before. The weights are a small real archive, which expires as other outputs
do. The version is new each time, can be run at once as a fine-tuned Flux with the inputs of simulated-user/flux-lora,
and is the destination's `latest_version`. `metrics.predict_time` is what the training would have taken: 1.2 s for
each step that was trained, also for one that was canceled.

Trainings and predictions are listed apart, and neither is found under the other's path. Trainings cannot be listed
by time.

## The control port

- `GET /_simulator/calls` → `{"charged", "predictions", "calls", "webhooks", "fetched"}`.
  - `charged` counts the predictions and trainings that were started, and would be paid for: all that were taken, but
    those that ended before they began to run.
  - `predictions` holds trainings too; `kind` is `prediction` or `training`. Also `id`, `model`, `version`,
    `deployment`, `destination` (of a training), `status`, `input` without secrets, `secrets` (name → SHA-256, in
    hex, of what was given), `created_at`, `webhook`, `images` (how many files were made), `charged`.
  - `calls` holds, from the moment of its answer, every request to the API and, with `"on": "output"`, to the delivery
    host; its `status` is a number or `"cut"`; `kind` tells calls about predictions from those about trainings, and is
    `null` for others; `authorization` says only whether that header was there.
  - `webhooks` holds every attempt with the answer's `status`, or `null` and an `error`.
  - `fetched` holds the files that inputs named on this machine: `prediction` (its id), `field`, `status` (`null`
    without an answer) and `bytes`.
- `DELETE /_simulator/calls` forgets these records; predictions run on.
- `DELETE /_simulator/outputs` drops all files at once, as if their hour were over.
- `GET /_simulator/faults` → the active list with what is left of `times`.
- `PUT /_simulator/faults` replaces it: a JSON list of `{"on", "kind", "times", "delay_s", …}`. An empty list clears
  all.

## Faults

`times` is how often a fault strikes (`null` or absent: until cleared); the first one in the list that fits is used.
`delay_s` may be given with every kind: it delays the answer (create, get, list, cancel, model, output), the sending
(webhook) or is added to the run (prediction). What is said of predictions holds for trainings too: `create` is the
creation of either, `prediction` the run of either.

On `create`, `get`, `list`, `cancel`, and on `model`, which is every call about models, versions and deployments that
starts nothing:

- `throttled`: 429. `variant`: `plain` (default), `problem` (with title, status and retry_after) or `low_credit`;
  `retry_after`: the value of a `Retry-After` header.
- `error_500`: before anything is taken. `status`: another 5xx.
- `unauthorized`: 401.
- `slow`: everything is done, the answer comes after `delay_s` (required).
- `garbage`: everything is done, the answer is 200 with a body that is not JSON.
- `refused`: nobody listens; the client's connect fails. A connection that was never made cannot be seen: no call is
  recorded, nothing tells a create from a get (so **all** of the API is away, whatever `on` says), and `times`
  cannot count attempts. The listener comes back after `delay_s`; without that, after 2 s for each of `times`;
  without either, when the fault is cleared.

On `create`, `cancel` and `model` also:

- `cut_after_taken`: it is done (the prediction was started, and is paid for; the model is there), then the connection
  ends without an answer.
- `cut_before_taken`: the connection ends without an answer, and nothing was done.

On `get` and `list` also:

- `cut`: the connection ends without an answer.
- `hide_webhook`: predictions are shown without the field `webhook`.

On `list` also `lag`: predictions younger than `seconds` (required) are not listed yet. On `get` also `aged`: all that
happened was so many `seconds` (required) earlier. On `get`, `cancel` and `model` also `not_found`: 404.

On `create` also:

- `insufficient_credit`: 402.
- `invalid`: 422 with `invalid_fields`. `field` (`input.prompt`), `description`.
- `not_found`: 404.

On `webhook`; `event` (`start`, `output`, `logs`, `completed`) restricts each kind but `reversed` to one event, and
`times` counts events, not attempts:

- `lost`: never sent, not even again.
- `doubled`: sent twice with the same id.
- `late`: sent after `delay_s` (required), and signed then.
- `forged`: signed with a wrong key, at every attempt.
- `reversed`: all webhooks of one prediction are held until it is complete, then sent last first. `times` counts
  predictions; those that do not ask for `completed` are left alone.

On `output`:

- `missing`: 404.
- `slow`: after `delay_s` (required).
- `redirect`: 302 to `location` (required).
- `mislabelled`: `content_type` (`text/html`) instead of the true one.
- `truncated`: the whole length is announced, half is sent.
- `chunked`: without a `Content-Length`.

On `prediction`, taken when it is created:

- `slow`: `delay_s` (required) longer.
- `fail`: ends `failed` with `error` (`E1001: out of memory`).
- `nsfw`: the safety checker drops `drop` images (all of them when absent, which fails the prediction); a training has
  none.
- `aborted`: ends `aborted` before it starts, and costs nothing. `webhook` (`true`): whether that is announced.
- `canceled`: ends `canceled` halfway, and is paid for.
- `never`: stays in `starting` until it is canceled.
- `held`: stays in `processing`, with `part` of it done (0 to 1, 0), until the list of faults is replaced, or it is
  canceled.
- `unknown_status`: shows `status` (`suspended`) instead of `processing`; with `at` = `end` instead of `succeeded`.
- `long_logs`: the logs begin with so many lines that they have `bytes` (required); bars follow them.
"""

from infra.local.simulator.simulator import Simulator

__all__ = ["Simulator"]
