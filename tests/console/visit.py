"""A person at the console: what they do there, and what the page must never do meanwhile."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, expect

SECONDS = 90  # for whatever should come: only a page that is broken takes so long
DESKTOP: dict[str, Any] = {"viewport": {"width": 1440, "height": 900}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "device_scale_factor": 2,
    "is_mobile": True,
    "has_touch": True,
}
DARK: dict[str, Any] = {"color_scheme": "dark"}
ID = re.compile(r"[0-9a-z]{26}")

expect.set_options(timeout=SECONDS * 1000)


class Visit:
    """One tab with the console in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.faults: list[str] = []
        page.set_default_timeout(SECONDS * 1000)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", self._hear)
        page.on("request", self._watch)

    def _hear(self, message: ConsoleMessage) -> None:
        # A refusal is no fault of the page; Chromium reports each. What the policy forbids is one.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def _watch(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "blob"} and f"{parts.scheme}://{parts.netloc}" != self.url:
            self.faults.append(f"the page asked a third party: {request.url}")

    # ---- Going somewhere ----

    def open(self, address: str = "") -> None:
        """Load the page anew, at an address such as `#history`."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.url}/{address}")

    def sign_in(self, key: str, address: str = "") -> None:
        """Come with a key, and sign in with it."""
        self.open(address)
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("button", name="Sign out")).to_be_visible()

    def go(self, page: str) -> None:
        """Follow the navigation to a page."""
        self.page.get_by_role("navigation").get_by_role("link", name=page).click()

    def open_job(self, title: str) -> None:
        """Go to the page of a job that is in view."""
        self.entry(title).get_by_role("link", name=title).first.click()
        expect(self.page.get_by_role("heading", level=1, name=title)).to_be_visible()

    # ---- Making something ----

    @property
    def form(self) -> Locator:
        return self.page.get_by_role("form", name="New images")

    def choose(self, model: str) -> None:
        """Choose a model, once there are models."""
        self.form.get_by_label("Model", exact=True).select_option(model)

    def prompt(self, words: str) -> None:
        self.form.get_by_label("Prompt", exact=True).fill(words)

    def create(self, words: str) -> None:
        """Write a prompt, and ask for its images."""
        self.prompt(words)
        self.form.get_by_role("button", name="Create").click()
        expect(self.entry(words)).to_be_visible()

    def entry(self, title: str) -> Locator:
        """The job of this title, beside the form."""
        return self.page.locator("#feed article").filter(has=self.page.get_by_role("heading", name=title, exact=True))

    def card(self, title: str) -> Locator:
        """The job of this title, in the history."""
        return self.page.locator("#cards li").filter(has_text=title)

    @property
    def job_id(self) -> str:
        """The job that has the page."""
        return str(urlsplit(self.page.url).fragment)

    # ---- Looking ----

    def spent(self) -> str:
        """What the bar says of today's money."""
        return self.page.locator("#spend b").inner_text()

    def see_images(self, within: Locator, count: int) -> None:
        """Wait until so many images are there, and decoded."""
        images = within.locator("img")
        expect(images).to_have_count(count)
        for image in images.all():
            image.scroll_into_view_if_needed()  # those out of sight are not loaded
            expect(image).to_have_js_property("complete", value=True)
            image.evaluate("image => image.decode()")
            assert image.evaluate("image => image.naturalWidth") > 0

    def copied(self) -> str:
        """What lies in the clipboard."""
        return str(self.page.evaluate("navigator.clipboard.readText()"))


@contextmanager
def visiting(browser: Browser, url: str, **options: Any) -> Iterator[Visit]:
    """Visit the console with a browser of one's own, whose page must show no fault to the end."""
    context: BrowserContext = browser.new_context(**{**DESKTOP, **options})
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit = Visit(context.new_page(), url)
    try:
        yield visit
        assert visit.faults == [], visit.faults
    finally:
        context.close()
