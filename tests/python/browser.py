"""Chromium over the pages of the dashboard: how it is opened, what every page may not do, and the list of the pages.

A page that is new is one line in PAGES. The walks of browser_walks.py look at each of them, and fail for a page that one of them links to and the list does not have.
"""

import contextlib
import dataclasses
import json
import os
import re
import urllib.parse

from playwright.sync_api import expect, sync_playwright

# A busy machine is slow, and nothing here waits longer than it must.
LIMIT_MS = 60_000
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
SCHEMES = ("light", "dark")
# Paths that lead to no page.
NO_PAGES = re.compile(r"^/(export|assets|filter-values)/|^/(logout|filter|news\.json|notices\.json)$")
FIRST_ROW = "main tbody a"
# Two conditions of which one has to hold, and a third beside them.
FILTER = urllib.parse.quote(
    '{"logic":"and","filters":[{"field":"amount","operator":"gte","value":20},'
    '{"logic":"or","filters":[{"field":"kind","operator":"eq","value":"sale"},{"field":"site_name","operator":"isnull"}]}]}'
)


@dataclasses.dataclass(frozen=True)
class DashboardPage:
    """A page: its address, {period} in it the period of the sales, and the links that are followed from there, where its own address has a key in it."""

    name: str
    address: str
    follow: tuple[str, ...] = ()
    is_before_login: bool = False


PAGES = [
    DashboardPage("login", "/login", is_before_login=True),
    DashboardPage("overview", "/?{period}"),
    DashboardPage("empty", "/?from=2020-01-01&to=2020-01-02"),
    DashboardPage("fault", "/?{period}&tenant=nobody"),
    DashboardPage("sales", "/sales?{period}&counted=yes&weekday=2"),
    DashboardPage("sale", "/sales?{period}&counted=yes", follow=(FIRST_ROW,)),
    DashboardPage("versions", "/sales?{period}&counted=yes", follow=(FIRST_ROW, "main a[href*='/versions']")),
    DashboardPage("filtered", "/sales?{period}&clock=site&filter={filter}"),
    DashboardPage("sites", "/sites?{period}"),
    DashboardPage("site", "/sites?{period}", follow=(FIRST_ROW,)),
    DashboardPage("silent", "/silent"),
    DashboardPage("never_published", "/restated?since=2020-01-01"),
    # From the list of runs, whose first is the newest that can be compared with.
    DashboardPage("restated", "/restated?clock=site", follow=(FIRST_ROW,)),
    DashboardPage("reconciliations", "/reconciliations"),
    DashboardPage("sources", "/sources"),
]


class Watch:
    """What a page did that none may: a request to another host, a breach of its policy, a script that failed, a dialogue."""

    def __init__(self, context, url):
        self.origin = url
        self.faults = []
        context.on("request", self.on_request)
        context.on("weberror", lambda error: self.faults.append(f"a script failed: {error.error}"))
        context.on("console", self.on_console)
        context.on("dialog", self.on_dialog)
        # A script that the policy does not concern, and that is there before those of the page.
        context.expose_binding("tellBreach", lambda source, breach: self.faults.append(f"the policy was broken: {breach}"))
        context.add_init_script(
            "addEventListener('securitypolicyviolation', e => tellBreach(`${e.effectiveDirective} ${e.blockedURI} on ${e.documentURI}`))"
        )

    def on_request(self, request):
        if not request.url.startswith((self.origin + "/", "data:")):
            self.faults.append(f"a request left for {request.url}")

    def on_console(self, message):
        # An answer that is a refusal is told too, which is no fault of the page.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.faults.append(f"the console says: {message.text}")

    def on_dialog(self, dialog):
        self.faults.append(f"a dialogue came up: {dialog.message}")
        dialog.dismiss()

    def assert_none(self, where):
        assert not self.faults, f"{where}: {self.faults}"


@contextlib.contextmanager
def chromium():
    """A browser that reaches nothing but this machine."""
    path = os.environ.get("TILLHOUSE_TEST_CHROMIUM")
    if not path:
        raise SystemExit(
            "TILLHOUSE_TEST_CHROMIUM is not set. `make test` sees to a browser and names it; by hand:\n"
            "  export TILLHOUSE_TEST_CHROMIUM=$(tests/python/chromium.sh)"
        )
    expect.set_options(timeout=LIMIT_MS)
    arguments = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--force-color-profile=srgb", "--font-render-hinting=none"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments, timeout=LIMIT_MS)
        try:
            yield browser
        finally:
            browser.close()


def visitor(browser, url, **options):
    """A page in a browser of its own, without cookies, and its watch."""
    options = {"viewport": DESKTOP, "locale": "en-GB", "timezone_id": "Europe/Berlin", "base_url": url, **options}
    context = browser.new_context(**options)
    context.set_default_timeout(LIMIT_MS)
    watch = Watch(context, url)
    return context.new_page(), watch


def log_in(page, name, password):
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def open_page(page, which, period):
    page.goto(which.address.format(period=period, filter=FILTER))
    for link in which.follow:
        start = page.url
        page.locator(link).first.click()
        page.wait_for_url(lambda url: url != start)
    expect(page.locator("h1")).to_be_visible()


def shape(address):
    """The path of an address with a star for a key: /sales/*."""
    parts = urllib.parse.urlsplit(address).path.split("/")
    return "/".join(parts[:2] + ["*"] * len(parts[2:]))


def linked(page, url):
    """The shapes of the pages that a page links to."""
    links = page.eval_on_selector_all("a[href]", "links => links.map(link => link.href.baseVal ?? link.href)")
    absolute = (urllib.parse.urljoin(url + "/", link) for link in links)
    own = [link for link in absolute if link.startswith(url)]
    return {shape(link) for link in own if not NO_PAGES.match(urllib.parse.urlsplit(link).path)}


def answer(found):
    print(json.dumps(found))
