"""The console in a browser: everything that it offers is done, and what comes of it is seen."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Route, expect

from infra.local.stack import Stack
from shared.job import Status
from tests.console.visit import DARK, PHONE, Visit, visiting
from tests.journey.local import DEV, SCHNELL, SMALL, Local, Tenant, until
from tests.support.published import read_document

pytestmark = pytest.mark.sockets

KONTEXT = "black-forest-labs/flux-kontext-pro"
SDXL = "stability-ai/sdxl"
HELD = {"on": "prediction", "kind": "held"}
HARBOUR = "a quiet harbour at dawn"


@pytest.fixture
def held(local: Local) -> Iterator[None]:
    """Predictions stop half-way, until the faults are replaced."""
    local.replicate.misbehave({**HELD, "part": 0.5})
    yield
    local.replicate.misbehave()


# ---- Signing in ----


def test_the_link_of_the_local_stack_fills_in_the_key_and_leaves_no_trace_of_it(visit: Visit, stack: Stack) -> None:
    visit.page.goto(stack.console_url)
    expect(visit.page.get_by_label("API key")).to_have_value(stack.api_key)
    assert stack.api_key not in visit.page.url
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("heading", name="In view")).to_be_visible()
    assert stack.api_key not in visit.page.content()


def test_the_key_stays_in_its_tab(console: Visit, tenant: Tenant) -> None:
    console.page.reload()
    expect(console.page.get_by_role("button", name="Sign out")).to_be_visible()
    assert tenant.key not in console.page.evaluate("JSON.stringify(localStorage) + document.cookie")
    another = Visit(console.page.context.new_page(), console.url)
    another.open()
    expect(another.page.get_by_role("button", name="Sign in")).to_be_visible()
    assert another.faults == []


def test_a_wrong_key_is_refused_in_words(visit: Visit) -> None:
    visit.open()
    visit.page.get_by_role("button", name="Sign in").click()
    expect(visit.page.get_by_role("alert")).to_have_text("Paste your API key here.")
    visit.page.get_by_label("API key").fill("aft_wrong")
    visit.page.get_by_role("button", name="Sign in").click()
    expect(visit.page.get_by_role("alert")).to_contain_text("This API key is not valid")


@pytest.mark.parametrize("key", ["aft_demo_…", "aft_demo_\u200b1234", "two words"])
def test_what_cannot_be_a_key_is_said_to_be_none(visit: Visit, key: str) -> None:
    visit.open()
    visit.page.get_by_label("API key").fill(key)
    visit.page.get_by_role("button", name="Sign in").click()
    expect(visit.page.get_by_role("alert")).to_contain_text("This is no API key")


def test_a_key_that_is_no_longer_taken_signs_out(console: Visit) -> None:
    console.page.route("**/v1/predictions", lambda route: route.fulfill(status=401, json={"detail": "no"}))
    console.go("History")
    expect(console.page.get_by_role("alert")).to_have_text("This key is no longer taken. Sign in with another one.")
    expect(console.page.get_by_label("API key")).to_have_value("")


# ---- Making images ----


@pytest.mark.usefixtures("held")
def test_images_are_made_and_seen_to_come(console: Visit, tenant: Tenant, local: Local) -> None:
    console.choose(DEV)
    console.form.get_by_role("button", name="Landscape").click()
    expect(console.form.get_by_role("button", name="Landscape")).to_have_attribute("aria-pressed", "true")
    console.form.get_by_role("button", name="One image more").click()
    expect(console.form.get_by_role("status")).to_contain_text("$0.05")
    console.create(HARBOUR)
    entry = console.entry(HARBOUR)
    expect(entry.locator(".stage")).to_have_text(re.compile(r"^Drawing, \d+ %$"))
    assert 0 < float(entry.get_by_role("progressbar").get_attribute("value") or 0) <= 0.5
    expect(console.page.locator("#spend b")).to_have_text("$0.05")
    local.replicate.misbehave()
    console.see_images(entry, 2)
    (job,) = local.jobs_of(tenant)
    assert (job.model, job.status, len(job.files)) == (DEV, Status.SUCCEEDED, 2)
    assert all((file.width or 0) > (file.height or 0) for file in job.files)
    console.open_job(HARBOUR)
    console.see_images(console.page.locator(".made"), 2)
    assert console.job_id == job.id


def test_the_form_is_made_of_what_the_models_say(console: Visit, tenant: Tenant) -> None:
    expect(console.form).to_be_visible()
    for model in tenant.http.get("/models").json()["models"]:
        schema = model["input_schema"]
        if schema is None:
            continue
        console.choose(model["name"])
        labels = console.form.locator(".field").evaluate_all("fields => fields.length")
        for name, field in schema["properties"].items():
            if name == "num_outputs":  # the number of images has a field of its own
                continue
            control = console.form.locator(f"#field-{name}, [name={name}]").first
            expect(control).to_have_count(1)
            kinds = [field, *field.get("anyOf", ())]
            for bound, attribute in (("minimum", "min"), ("maximum", "max")):
                value = next((one[bound] for one in kinds if bound in one), None)
                if value is not None and abs(value) < 2**53:
                    expect(control).to_have_attribute(attribute, str(value))
        assert labels >= len(schema["properties"])
        presets = console.form.get_by_role("group", name="Presets").get_by_role("button")
        assert [one.lower() for one in presets.all_inner_texts()] == model["presets"]


def test_what_is_wrong_in_the_form_is_said_beside_the_field_and_nothing_is_sent(
    console: Visit, tenant: Tenant, local: Local
) -> None:
    console.choose(SDXL)
    console.form.get_by_text("More settings").click()
    steps = console.form.get_by_label("Number of inference steps")
    steps.fill("9999")
    console.form.get_by_role("button", name="Create").click()
    prompt = console.form.get_by_label("Prompt", exact=True)
    expect(prompt).to_be_focused()
    expect(prompt).to_have_accessible_description(re.compile("This cannot be left empty"))
    expect(steps).to_have_attribute("aria-invalid", "true")
    assert local.jobs_of(tenant) == []


def test_a_refusal_of_the_service_leads_to_its_field(console: Visit) -> None:
    def refuse(route: Route) -> None:
        wrong = {"field": "input.seed", "description": "Not this one."}
        refused = {"title": "Input validation failed", "detail": "- input.seed: Not this one.", "code": "invalid_input"}
        route.fulfill(status=422, json={**refused, "retryable": False, "request_id": "r-1", "invalid_fields": [wrong]})

    console.page.route("**/generate", refuse)
    console.choose(SCHNELL)
    console.prompt(HARBOUR)
    console.form.get_by_role("button", name="Create").click()
    seed = console.form.get_by_label("Seed")
    expect(seed).to_be_focused()
    expect(seed).to_have_accessible_description(re.compile("Not this one"))


def test_a_failure_is_told_in_plain_words(console: Visit) -> None:
    console.choose(SCHNELL)
    console.create("a fox nsfw-all")
    note = console.entry("a fox nsfw-all").get_by_role("note")
    expect(note).to_contain_text("All images were withheld as NSFW")
    expect(note).to_contain_text("Another prompt or another seed may pass.")
    expect(console.page.locator("#spend b")).to_have_text("$0.00")


def test_a_budget_that_does_not_suffice_is_told_before_and_after(browser: Browser, local: Local, stack: Stack) -> None:
    with local.tenant(daily_budget=2_000) as poor, visiting(browser, stack.api_url) as visit:
        visit.sign_in(poor.key)
        visit.choose(SCHNELL)
        expect(visit.form.get_by_role("status")).to_contain_text("more than is left today")
        visit.prompt(HARBOUR)
        visit.form.get_by_role("button", name="Create").click()
        alert = visit.form.get_by_role("alert").filter(has_text="budget")
        expect(alert).to_contain_text("The budget starts anew at midnight UTC.")
        expect(alert).to_contain_text("budget_exceeded")
        assert local.jobs_of(poor) == []


def test_a_request_whose_answer_is_lost_is_not_paid_twice(console: Visit, tenant: Tenant, local: Local) -> None:
    lost: list[int] = []

    def lose(route: Route) -> None:
        lost.append(route.fetch().status)
        route.abort()

    console.choose(SCHNELL)
    console.prompt(HARBOUR)
    console.page.route("**/generate", lose, times=1)
    create = console.form.get_by_role("button", name="Create")
    create.click()
    expect(console.form.get_by_role("alert").filter(has_text="cannot be reached")).to_be_visible()
    create.click()
    console.see_images(console.entry(HARBOUR), 1)
    assert lost == [202]
    assert len(local.jobs_of(tenant)) == 1


def test_a_job_that_was_taken_but_could_not_be_shown_is_not_paid_twice(
    console: Visit, tenant: Tenant, local: Local
) -> None:
    console.choose(SCHNELL)
    console.prompt(HARBOUR)
    console.page.route("**/v1/predictions/*", lambda route: route.abort())
    create = console.form.get_by_role("button", name="Create")
    create.click()
    expect(console.form.get_by_role("alert").filter(has_text="cannot be reached")).to_be_visible()
    console.page.unroute("**/v1/predictions/*")
    create.click()
    console.see_images(console.entry(HARBOUR), 1)
    assert len(local.jobs_of(tenant)) == 1


@pytest.mark.usefixtures("held")
def test_a_job_that_runs_is_canceled(console: Visit, tenant: Tenant, local: Local) -> None:
    console.choose(SCHNELL)
    console.create(HARBOUR)
    entry = console.entry(HARBOUR)
    expect(entry.locator(".stage")).to_contain_text("Drawing")
    entry.get_by_role("button", name="Cancel").click()
    expect(entry.locator(".badge")).to_have_text("Canceled")
    (job,) = local.jobs_of(tenant)
    assert job.status is Status.CANCELED


def test_words_of_others_are_only_ever_text(console: Visit) -> None:
    words = "<img src=x onerror=alert(1)> nsfw-all"
    console.choose(SCHNELL)
    console.create(words)
    expect(console.entry(words).get_by_role("note")).to_be_visible()
    assert console.entry(words).locator("img").count() == 0


def test_it_waits_for_the_connection_and_goes_on(console: Visit, local: Local) -> None:
    local.replicate.misbehave(HELD)
    console.choose(SCHNELL)
    console.create(HARBOUR)
    console.page.context.set_offline(offline=True)
    expect(console.page.locator("#offline")).to_have_text("You are offline. Running jobs go on without you.")
    local.replicate.misbehave()
    console.page.context.set_offline(offline=False)
    console.see_images(console.entry(HARBOUR), 1)
    expect(console.page.locator("#offline")).to_be_empty()


# ---- As code ----


@pytest.mark.parametrize(
    ("language", "program"), [("curl", "bash"), ("Python", sys.executable), ("Replicate\u2019s client", sys.executable)]
)
def test_what_is_copied_runs_and_does_the_same(
    console: Visit, tenant: Tenant, local: Local, tmp_path: Path, *, language: str, program: str
) -> None:
    console.choose(SCHNELL)
    console.prompt('it\'s a "quiet" harbour')
    console.form.get_by_text("9:16", exact=True).click()
    console.form.get_by_text("As code").click()
    console.form.get_by_role("button", name=language, exact=True).click()
    console.form.get_by_role("button", name=f"Copy {language}").click()
    expect(console.page.locator("#toast")).to_have_text(f"{language} copied.")
    written = console.copied()
    assert tenant.key not in written
    script = tmp_path / "copied"
    script.write_text(written.replace("AFTERIMAGE_KEY=…", f"AFTERIMAGE_KEY={tenant.key}"))
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AFTERIMAGE_KEY": tenant.key}
    ran = subprocess.run([program, script], env=surroundings, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    (job,) = local.jobs_of(tenant)
    assert job.id in ran.stdout, ran.stdout
    assert (job.input["prompt"], job.input["aspect_ratio"]) == ('it\'s a "quiet" harbour', "9:16")


def test_a_job_can_be_had_as_code_too(console: Visit, tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate(HARBOUR, input={**SMALL, "seed": 7})])
    console.open(f"#{job.id}")
    console.page.locator("#page-job").get_by_text("As code").click()
    console.page.get_by_role("button", name="Copy curl").click()
    expect(console.page.locator("#toast")).to_have_text("curl copied.")
    body = json.loads(console.copied().partition("-d '")[2].removesuffix("'"))
    assert (body["model"], body["prompt"], body["input"]) == (SCHNELL, HARBOUR, {**SMALL, "seed": 7})


# ---- What was made ----


def test_an_image_becomes_the_input_of_the_next(console: Visit, tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate(HARBOUR)])
    console.open(f"#{job.id}")
    console.page.get_by_role("button", name="Use as input").click()
    expect(console.form.get_by_text("An image made here")).to_be_visible()
    console.see_images(console.form.locator(".given:visible"), 1)
    console.choose(KONTEXT)
    console.create("the same harbour in winter")
    console.see_images(console.entry("the same harbour in winter"), 1)
    changed = next(one for one in local.jobs_of(tenant) if one.id != job.id)
    assert (changed.model, changed.status) == (KONTEXT, Status.SUCCEEDED)
    assert job.id in changed.input["input_image"]


def test_an_image_is_downloaded_as_it_is_stored(console: Visit, tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate(HARBOUR)])
    console.open(f"#{job.id}")
    with console.page.expect_download() as waiting:
        console.page.get_by_role("button", name="Download").click()
    assert waiting.value.suggested_filename == f"{job.id}-0.webp"
    assert waiting.value.path().read_bytes() == local.objects(job)["0.webp"]


def test_a_job_is_made_again_with_what_it_was_given(console: Visit, tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate(HARBOUR, input={**SMALL, "aspect_ratio": "3:2", "seed": 7})])
    console.open(f"#{job.id}")
    console.page.get_by_role("button", name="Same seed").click()
    expect(console.form.get_by_label("Prompt", exact=True)).to_have_value(HARBOUR)
    expect(console.form.get_by_label("Seed")).to_have_value("7")
    expect(console.form.get_by_label("3:2", exact=True)).to_be_checked()
    console.form.get_by_role("button", name="Create").click()
    found = until(lambda: jobs if len(jobs := local.jobs_of(tenant)) == 2 else None, what="the second job")
    assert found[0].input == found[1].input


def test_a_deleted_job_is_gone(console: Visit, tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate(HARBOUR)])
    console.open(f"#{job.id}")
    console.page.get_by_role("button", name="Delete").click()
    console.page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    expect(console.page.get_by_role("dialog")).to_have_count(0)
    console.page.get_by_role("button", name="Delete").click()
    console.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(console.page.locator("#toast")).to_have_text("Deleted.")
    expect(console.page.get_by_text("Nothing here yet")).to_be_visible()
    assert tenant.http.get(f"/predictions/{job.id}").status_code == 404


def test_deleting_asks_first_and_enter_alone_keeps_the_job(console: Visit, tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate(HARBOUR)])
    console.open(f"#{job.id}")
    console.page.get_by_role("button", name="Delete").click()
    expect(console.page.get_by_role("button", name="Keep it")).to_be_focused()
    console.page.keyboard.press("Enter")
    expect(console.page.get_by_role("dialog")).to_have_count(0)
    assert tenant.http.get(f"/predictions/{job.id}").status_code == 200


def test_a_job_that_was_deleted_elsewhere_is_simply_gone(console: Visit, tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate(HARBOUR)])
    console.open(f"#{job.id}")
    expect(console.page.get_by_role("button", name="Delete")).to_be_visible()
    tenant.http.delete(f"/predictions/{job.id}").raise_for_status()
    console.page.get_by_role("button", name="Delete").click()
    console.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(console.page.locator("#toast")).to_have_text("Deleted.")
    expect(console.page.get_by_text("Nothing here yet")).to_be_visible()


def test_a_job_that_nobody_waits_for_any_more_disturbs_no_other_page(
    console: Visit, tenant: Tenant, local: Local
) -> None:
    (job,) = local.end([tenant.generate(HARBOUR)])
    console.go("API")
    expect(console.page.locator("details.operation").first).to_be_visible()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    console.page.route(f"**/v1/predictions/{job.id}", hold)
    console.page.evaluate("id => { location.hash = id }", job.id)
    expect(console.page.get_by_role("heading", name="Loading…")).to_be_visible()
    console.go("API")
    with console.page.expect_response(f"**/v1/predictions/{job.id}"):
        held.pop().continue_()
    console.go("History")
    expect(console.card(HARBOUR)).to_be_visible()


def test_how_long_ago_something_was_does_not_stand_still(visit: Visit, tenant: Tenant, local: Local) -> None:
    local.end([tenant.generate(HARBOUR)])
    visit.page.clock.install()
    visit.sign_in(tenant.key)
    time = visit.entry(HARBOUR).locator("time")
    expect(time).to_contain_text(re.compile("just now|m ago"))
    visit.page.clock.fast_forward("03:00:00")
    expect(time).to_have_text(re.compile("3h ago"))


def test_earlier_jobs_are_browsed_and_filtered(console: Visit, tenant: Tenant, local: Local) -> None:
    local.end(
        [
            tenant.generate("a first harbour", num_images=2),
            tenant.generate("a second harbour", model=DEV),
            tenant.generate("a third nsfw-all"),
        ]
    )
    console.go("History")
    expect(console.page.locator("#count")).to_have_text("3 jobs")
    console.see_images(console.card("a first harbour"), 1)
    expect(console.card("a first harbour")).to_contain_text("2 images")
    console.see_images(console.card("a second harbour"), 1)
    expect(console.card("a third nsfw-all")).to_contain_text("Failed")
    meta = console.card("a second harbour").locator(".meta")
    line = meta.evaluate("element => element.clientHeight")
    meta.locator("span").first.evaluate("element => element.append(' of a very long name')")
    assert meta.evaluate("element => element.clientHeight") == line
    filters = console.page.get_by_role("form", name="Filter")
    filters.get_by_label("Status").select_option("succeeded")
    expect(console.page.locator("#cards li")).to_have_count(2)
    filters.get_by_label("Model").select_option(DEV)
    expect(console.page.locator("#cards li")).to_have_count(1)
    expect(console.card("a second harbour")).to_be_visible()
    filters.get_by_label("Status").select_option("canceled")
    expect(console.page.get_by_text("None of your jobs is like that")).to_be_visible()
    filters.get_by_label("Kind").select_option("trainings")
    expect(console.page.locator("#cards li")).to_have_count(0)


def test_older_jobs_come_page_by_page(console: Visit, tenant: Tenant, local: Local) -> None:
    local.replicate.misbehave({"on": "prediction", "kind": "aborted"})
    batches = [{"prompts": [f"harbour {n}" for n in range(part, part + 60)]} for part in (0, 60)]
    for batch in batches:
        answer = tenant.http.post("/generate", json={**batch, "model": SCHNELL, "num_images": 1})
        assert answer.status_code == 202, answer.text
    console.go("History")
    expect(console.page.locator("#cards li")).to_have_count(100)
    console.page.get_by_role("button", name="Show older").click()
    expect(console.page.locator("#cards li")).to_have_count(120)
    expect(console.page.get_by_role("button", name="Show older")).to_have_count(0)
    local.end(job.id for job in local.jobs_of(tenant))


def test_a_training_is_followed_to_its_model(console: Visit, local: Local, tenant: Tenant) -> None:
    trainer = console.form.get_by_label("Model", exact=True).locator("optgroup[label=Trainers] option").first
    console.choose(str(trainer.get_attribute("value")))
    console.form.get_by_label("Input images").fill("https://example.com/foxes.zip")
    console.form.get_by_label("Trigger word").fill("FOXY")
    console.form.get_by_role("button", name="Create").click()
    console.open_job("Training of FOXY")
    console.page.get_by_role("button", name="Use this model").click()
    (job,) = local.jobs_of(tenant)
    trained = tenant.http.get(f"/predictions/{job.id}").json()["trained_model"].partition(":")[0]
    expect(console.form.get_by_label("Model", exact=True)).to_have_value(trained)


# ---- Whose it is, and what it costs ----


def test_another_tenant_sees_nothing_of_it(console: Visit, tenant: Tenant, local: Local) -> None:
    (job,) = local.end([tenant.generate(HARBOUR)])
    console.open(f"#{job.id}")
    console.see_images(console.page.locator(".made"), 1)
    console.page.get_by_role("button", name="Sign out").click()
    assert HARBOUR not in console.page.content()
    assert job.id not in console.page.content()
    with local.tenant() as other:
        console.sign_in(other.key, f"#{job.id}")
        expect(console.page.get_by_text("There is no such job, or it is not yours.")).to_be_visible()
        console.go("History")
        expect(console.page.get_by_text("Nothing here yet")).to_be_visible()
        console.go("Create")
        expect(console.page.get_by_text("Nothing in view yet")).to_be_visible()
        assert console.spent() == "$0.00"
        assert HARBOUR not in console.page.content()


def test_todays_cost_and_the_budget_are_in_view(browser: Browser, local: Local, stack: Stack) -> None:
    with local.tenant(daily_budget=25_000_000) as tenant, visiting(browser, stack.api_url) as visit:
        local.end([tenant.generate(num_images=2), tenant.generate(model=DEV)])
        visit.sign_in(tenant.key)
        expect(visit.page.locator("#spend")).to_contain_text("$0.031 of $25.00 today")
        visit.page.get_by_role("button", name="Account").click()
        account = visit.page.locator("#account")
        expect(account).to_contain_text(tenant.name)
        for line in ("Spent$0.031", "flux-dev$0.025", "flux-schnell$0.006", "Running now0 of"):
            expect(account).to_contain_text(line)


# ---- Any screen, any hand, any light ----


def test_it_works_on_a_phone(browser: Browser, stack: Stack, tenant: Tenant) -> None:
    with visiting(browser, stack.api_url, **PHONE) as visit:
        visit.sign_in(tenant.key)
        visit.choose(SCHNELL)
        visit.create(HARBOUR)
        visit.see_images(visit.entry(HARBOUR), 1)
        visit.open_job(HARBOUR)
        for page in ("History", "API", "Create"):
            visit.go(page)
            expect(visit.page.get_by_role("heading", level=1)).to_be_visible()
            expect(visit.page.get_by_role("main").locator("> :visible").first).to_be_in_viewport()
            expect(visit.page.get_by_role("navigation")).to_be_in_viewport()
            assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page


def test_it_works_by_keyboard_alone(visit: Visit, stack: Stack, tenant: Tenant) -> None:
    keys = visit.page.keyboard
    visit.open()
    expect(visit.page.get_by_label("API key")).to_be_focused()
    keys.type(tenant.key)
    keys.press("Enter")
    visit.choose(SCHNELL)  # there is a form
    _tab_to(visit, visit.form.get_by_label("Prompt", exact=True))
    keys.type(HARBOUR)
    _tab_to(visit, visit.form.get_by_role("button", name="Portrait"))
    keys.press("Space")
    _tab_to(visit, visit.form.get_by_role("button", name="Create"))
    keys.press("Enter")
    expect(visit.entry(HARBOUR)).to_be_visible()
    visit.see_images(visit.entry(HARBOUR), 1)
    _tab_to(visit, visit.entry(HARBOUR).get_by_role("link", name=HARBOUR, exact=True).first)
    keys.press("Enter")
    expect(visit.page.get_by_role("heading", level=1, name=HARBOUR)).to_be_focused()
    _tab_to(visit, visit.page.get_by_role("button", name="Delete"))
    keys.press("Enter")
    keys.press("Escape")
    expect(visit.page.get_by_role("dialog")).to_have_count(0)
    _tab_to(visit, visit.page.get_by_role("link", name="History").last)
    keys.press("Enter")
    expect(visit.card(HARBOUR)).to_be_visible()
    assert stack.api_url in visit.page.url


def _tab_to(visit: Visit, wanted: Locator) -> None:
    """Go on by the tab key until an element has the focus; wherever it is meanwhile, that is seen."""
    for _ in range(120):
        visit.page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            assert _is_seen(visit)
            return
        assert _is_seen(visit)
    pytest.fail(f"{wanted} is not reached by the tab key")


def _is_seen(visit: Visit) -> bool:
    """Whether what has the focus is marked; a hidden radio button is marked around its label."""
    seen: bool = visit.page.evaluate("""() => {
        const focused = document.activeElement;
        if (focused === document.body) return true;
        const marked = focused.matches(".ratio input") ? focused.parentElement : focused;
        return getComputedStyle(marked).outlineStyle !== "none";
    }""")
    return seen


def test_light_and_dark_follow_the_system_until_somebody_chooses(browser: Browser, stack: Stack) -> None:
    with visiting(browser, stack.api_url, **DARK) as visit:
        visit.open("#api")
        paper = "getComputedStyle(document.documentElement).backgroundColor"
        dark = visit.page.evaluate(paper)
        visit.page.emulate_media(color_scheme="light")
        light = visit.page.evaluate(paper)
        assert dark != light
        visit.page.get_by_role("button", name="Theme: as the system").click()
        visit.page.get_by_role("button", name="Theme: light").click()
        expect(visit.page.get_by_role("button", name="Theme: dark")).to_be_visible()
        assert visit.page.evaluate(paper) == dark
        visit.page.reload()
        expect(visit.page.get_by_role("button", name="Theme: dark")).to_be_visible()
        assert visit.page.evaluate(paper) == dark


# ---- The API, for people ----


def test_everybody_can_read_about_the_api(visit: Visit) -> None:
    visit.open()
    visit.page.get_by_role("link", name="About the API").click()
    expect(visit.page.get_by_role("heading", level=1, name="API")).to_be_visible()
    operations = visit.page.locator("details.operation")
    document = read_document()
    summaries = [one["summary"] for methods in document["paths"].values() for one in methods.values()]
    expect(operations).to_have_count(len(summaries))
    assert sorted(operations.locator(".summary").all_inner_texts()) == sorted(summaries)
    visit.page.locator("#operation-generate > summary").click()
    unfolded = visit.page.locator("#operation-generate .unfolded")
    expect(unfolded).to_be_visible()
    told = unfolded.inner_text()
    for name in document["components"]["schemas"]["GenerateBody"]["properties"]:
        assert name in told
    assert visit.page.url.endswith("#api/generate")
    visit.page.get_by_role("link", name="Sign in").click()
    expect(visit.page.get_by_label("API key")).to_be_visible()


def test_an_address_leads_to_its_operation(visit: Visit) -> None:
    visit.open("#api/predictions.get")
    operation = visit.page.locator("[id='operation-predictions.get']")
    expect(operation).to_have_attribute("open", "")
    expect(operation.locator("summary").first).to_be_in_viewport()
    operation.get_by_text("The job.").click()
    operation.get_by_text("Its fields").last.click()
    expect(operation.get_by_text("poll_after")).to_be_visible()


def test_every_operation_can_be_unfolded(visit: Visit) -> None:
    visit.open("#api")
    operations = visit.page.locator("details.operation")
    expect(operations.first).to_be_visible()
    for operation in operations.all():
        operation.locator("summary").first.click()
        expect(operation.get_by_role("heading", name="Answers")).to_be_visible()
    assert "[object" not in visit.page.locator("#page-api").inner_text()
    words = visit.page.locator("#page-api").inner_text()
    assert "undefined" not in words
    assert "`" not in words
    assert all(int(number) <= 2**53 for number in re.findall(r"\d{16,}", words))
