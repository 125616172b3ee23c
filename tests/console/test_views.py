"""Every view on every screen: axe-core finds nothing that keeps people out, and a picture of it stays to be looked at.

The pictures are in `.local/console/`.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from infra.local.stack import Stack
from tests.console.visit import DARK, PHONE, Visit, visiting
from tests.journey.local import DEV, SCHNELL, Local, Tenant
from tests.support.published import ROOT

pytestmark = pytest.mark.sockets

PICTURES = ROOT / ".local" / "console"
STILL = {"reduced_motion": "reduce"}  # what moves has other colours at every look
SCREENS: dict[str, dict[str, Any]] = {"desktop": {}, "dark": DARK, "phone": PHONE, "phone-dark": {**PHONE, **DARK}}
PROMPTS = ("a quiet harbour at dawn", "an astronaut riding a horse", "still life with lemons", "a city of glass")

type Look = Callable[[str], None]


@pytest.fixture
def furnished(tenant: Tenant, local: Local) -> Tenant:
    """A tenant with jobs of all kinds, one of which runs."""
    made = [tenant.generate(prompt, num_images=n + 1, model=DEV, input={}) for n, prompt in enumerate(PROMPTS)]
    local.end([*made, tenant.generate("a fox nsfw-all")])
    local.replicate.misbehave({"on": "prediction", "kind": "held", "part": 0.5})
    return tenant


@pytest.mark.parametrize("screen", SCREENS)
def test_every_view_can_be_used_by_everybody(
    browser: Browser, stack: Stack, furnished: Tenant, axe: str, screen: str
) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    findings: dict[str, list[str]] = {}
    with visiting(browser, stack.api_url, **STILL, **SCREENS[screen]) as visit:

        def look(name: str) -> None:
            visit.page.screenshot(path=PICTURES / f"{screen}-{name}.png")
            if found := [*violations(visit, axe), *overflows(visit)]:
                findings[name] = found

        look_at_signing_in(visit, furnished.key, look)
        look_at_creating(visit, look)
        look_at_history(visit, look)
        look_at_the_api(visit, look)
    assert findings == {}, json.dumps(findings, indent=2)


def look_at_signing_in(visit: Visit, key: str, look: Look) -> None:
    visit.open()
    expect(visit.page.get_by_label("API key")).to_be_visible()
    look("signing-in")
    visit.page.get_by_label("API key").fill("aft_wrong")
    visit.page.get_by_role("button", name="Sign in").click()
    expect(visit.page.get_by_role("alert")).not_to_be_empty()
    look("signing-in-refused")
    visit.sign_in(key)


def look_at_creating(visit: Visit, look: Look) -> None:
    visit.choose(SCHNELL)
    expect(visit.entry("a fox nsfw-all")).to_be_visible()
    visit.see_images(visit.entry(PROMPTS[3]), 4)
    visit.page.evaluate("scrollTo(0, 0)")
    look("creating")
    visit.create("a lighthouse in the fog")
    expect(visit.entry("a lighthouse in the fog").locator(".stage")).to_contain_text("%")
    look("running")
    visit.form.get_by_text("More settings").click()
    visit.prompt("")
    visit.form.get_by_role("button", name="Create").click()
    expect(visit.form.get_by_text("This cannot be left empty.").first).to_be_visible()
    look("form-refused")
    visit.form.get_by_text("As code").click()
    expect(visit.form.get_by_role("button", name="Copy curl")).to_be_visible()
    look("as-code")
    visit.page.get_by_role("button", name="Account").click()
    expect(visit.page.locator("#account")).to_be_visible()
    look("account")
    visit.page.keyboard.press("Escape")
    visit.entry("a fox nsfw-all").scroll_into_view_if_needed()
    look("failed")


def look_at_history(visit: Visit, look: Look) -> None:
    visit.go("History")
    expect(visit.card(PROMPTS[0])).to_be_visible()
    for prompt in PROMPTS:
        visit.see_images(visit.card(prompt), 1)
    visit.page.evaluate("scrollTo(0, 0)")
    look("history")
    visit.card(PROMPTS[1]).get_by_role("link").click()
    visit.see_images(visit.page.locator(".made"), 2)
    visit.page.evaluate("scrollTo(0, 0)")
    look("job")
    visit.page.get_by_text("Logs", exact=True).click()
    expect(visit.page.get_by_role("region", name="Logs")).to_be_visible()
    look("job-logs")
    visit.page.get_by_role("button", name="Delete").click()
    expect(visit.page.get_by_role("dialog")).to_be_visible()
    look("deleting")
    visit.page.get_by_role("button", name="Keep it").click()
    visit.go("History")
    visit.card("a fox nsfw-all").get_by_role("link").click()
    expect(visit.page.get_by_role("note")).to_be_visible()
    look("job-failed")


def look_at_the_api(visit: Visit, look: Look) -> None:
    visit.go("API")
    expect(visit.page.locator("details.operation").first).to_be_visible()
    look("api")
    visit.page.locator("#operation-generate > summary").click()
    expect(visit.page.locator("#operation-generate").get_by_role("heading", name="Answers")).to_be_visible()
    visit.page.locator("#operation-generate .answer > summary").first.click()
    visit.page.locator("#operation-generate").evaluate("element => element.scrollIntoView()")
    look("api-operation")


def violations(visit: Visit, axe: str) -> list[str]:
    """Give what axe-core finds, whatever its weight, with the elements."""
    visit.page.evaluate(f"window.axe || (() => {{ {axe} }})()")
    found = visit.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['impact']} {one['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def overflows(visit: Visit) -> list[str]:
    """Say how much wider than the screen the page is, if it is."""
    over = visit.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [f"{over} pixels too wide"] if over > 0 else []


def test_axe_finds_what_is_wrong(visit: Visit, axe: str) -> None:
    visit.open()
    expect(visit.page.get_by_label("API key")).to_be_visible()
    visit.page.evaluate("document.querySelector('label[for=key]').remove()")
    assert [one for one in violations(visit, axe) if one.startswith("critical label")]
