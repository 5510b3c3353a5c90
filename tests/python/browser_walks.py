"""Walks through the dashboard in a real browser, by a person's steps. A step that does not come out as it should ends the walk with an error that says which.

    browser_walks.py OPTIONS WALK...

    OPTIONS is JSON:
      url         address of the server
      period      from=2026-01-01&to=2026-01-06
      users       passwords by name, of a server that has users; own and other are the names of two
      tenants     the one tenant of each of the two
      command     words of a command, which a walk runs when it comes to it: it publishes a run, or gives `own` the password new_password
      name        text that a provider chose, of the walk `hostile`
      site        key of the site with that name
      sale        id of a sale whose amount was corrected to 1,000 between the last two runs, of the walk `changes`

    {"pages": 9, "looks": 36}

What the walk `pages` counts is printed; nothing of the others. Every walk fails where a page asks another host, breaks its policy, has a script that fails, or opens a dialogue.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.parse

from axe_playwright_python.sync_playwright import Axe
from browser import DESKTOP, LIMIT_MS, PAGES, PHONE, SCHEMES, answer, chromium, linked, log_in, open_page, shape, visitor
from playwright.sync_api import expect

# What axe calls a fault of the first two degrees.
GRAVE = ("serious", "critical")
# Currencies behind the first are as that is, and there are several of them.
LOOKED_AT = {"exclude": [["details.currency > section"]]}
AXE = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
AMOUNT = '{"field": "amount", "operator": "gte", "value": 20}'


def show(page):
    page.get_by_role("button", name="Show").click()


def number(text):
    return int(text.replace(",", ""))


def card(page, name):
    """The value of a headline figure of the first currency."""
    cards = page.locator("dl.cards").first.locator(".card")
    return cards.filter(has=page.locator(f"dt:text-is('{name}')")).locator(".value")


def rows(page):
    return page.locator("main tbody tr")


def run(command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]})


def person(browser, options):
    """Period, comparison, filter, the sales behind a bar, one of them, and back; files; the other language."""
    page, watch = visitor(browser, options["url"])
    page.goto(f"/?{options['period']}")
    first, figure = page.url, card(page, "Sales").inner_text()
    period, start, end = page.get_by_role("combobox", name="Period", exact=True), page.get_by_label("From", exact=True), page.get_by_label("To (before)")
    period.select_option("today")
    expect(start).to_have_value("")
    show(page)
    expect(page).to_have_url(re.compile("period=today"))
    expect(page.get_by_text("Nothing was sold in this period.")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(first)
    expect(card(page, "Sales")).to_have_text(figure)
    # The form says what the page is of.
    expect(start).to_have_value("2026-01-01")
    expect(period).to_have_value("")

    start.fill("2026-01-02")
    end.fill("2026-01-05")
    show(page)
    expect(page.locator("h1")).to_contain_text("January 2026")
    expect(card(page, "Sales")).not_to_have_text(figure)
    compared = page.get_by_text("Growth is measured against")
    before = compared.inner_text()
    page.get_by_role("combobox", name="Compare with").select_option("last-year")
    show(page)
    expect(compared).to_contain_text("2025")
    assert compared.inner_text() != before

    figure = number(card(page, "Sales").inner_text())
    page.get_by_text("Narrow", exact=True).click()
    narrowing = page.get_by_label("Filter (Kendo UI descriptor)")
    narrowing.fill('{"field": "amount"')
    show(page)
    expect(page.locator("h1")).to_have_text("This cannot be shown")
    expect(page.get_by_role("alert")).to_contain_text(re.compile("Id: [0-9a-f-]{8,}"))
    expect(narrowing).to_have_value('{"field": "amount"')
    narrowing.fill(AMOUNT)
    show(page)
    expect(page.locator("h1")).to_contain_text("January 2026")
    narrowed = number(card(page, "Sales").inner_text())
    assert 0 < narrowed < figure, (narrowed, figure)
    sent, _ = visitor(browser, options["url"])
    sent.goto(page.url)
    expect(card(sent, "Sales")).to_have_text(card(page, "Sales").inner_text())

    page.get_by_role("link", name="This currency alone").first.click()
    alone = page.url
    expect(card(page, "Sales")).to_have_text(f"{narrowed:,}")
    listed_to_the_end(page, narrowed)
    page.goto(alone)
    behind_a_drawing(page, "figure.chart:not(.week)")
    behind_a_drawing(page, "figure.week")
    files(page)
    page.get_by_role("link", name="Deutsch").click()
    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(card(page, "Umsatz")).to_contain_text(",")
    watch.assert_none("person")


def chips(page):
    return page.get_by_role("list", name="Filter in force")


def condition(row, field, operator, value=""):
    row.locator("[name=field]").select_option(field)
    row.locator("[name=operator]").select_option(operator)
    if value:
        row.locator("[name=value]").fill(value)


def filters(browser, options):
    """A filter is built condition by condition, with a script and without, said in words, and taken off part by part."""
    page, watch = visitor(browser, options["url"])
    page.goto(f"/sales?{options['period']}")
    build = page.locator("details.builder > summary")
    conditions = page.locator("form.builder .condition")
    build.click()
    expect(page.get_by_label("Of these conditions")).to_be_hidden()
    condition(conditions.first, "amount", "gte", "20,5")
    # A number is in no list, and contains nothing.
    assert conditions.first.locator("option[value=contains]").is_disabled()
    page.get_by_role("button", name="A further condition").click()
    expect(conditions).to_have_count(2)
    expect(conditions.last.locator("[name=field]")).to_be_focused()
    with page.expect_response("**/filter-values/state") as offered:
        condition(conditions.last, "state", "eq")
    assert "completed" in offered.value.json(), offered.value.text()
    expect(page.locator("#values-state option[value=completed]")).to_have_count(1)
    condition(conditions.last, "state", "isnull")
    expect(conditions.last.locator("[name=value]")).to_be_hidden()
    condition(conditions.last, "state", "eq", "completed")
    page.get_by_label("Of these conditions").select_option("and")
    # A comma is one of German numbers, and no English one.
    page.get_by_role("button", name="Add to the filter").click()
    expect(page.locator("h1")).to_have_text("This cannot be shown")
    page.go_back()
    page.goto(f"/sales?{options['period']}&lang=de")
    build.click()
    condition(conditions.first, "amount", "gte", "20,5")
    page.get_by_role("button", name="Zum Filter hinzufügen").click()
    expect(page.get_by_text("Betrag ist mindestens 20,5")).to_be_visible()
    expect(page).to_have_url(re.compile("filter=.*&lang=de|lang=de.*&filter="))

    page.goto(f"/sales?{options['period']}")
    everything = rows(page).count()
    build.click()
    condition(conditions.first, "amount", "gte", "20.5")
    page.get_by_role("button", name="A further condition").click()
    condition(conditions.last, "state", "eq", "completed")
    page.get_by_role("button", name="Add to the filter").click()
    expect(chips(page)).to_contain_text("Amount is at least 20.5")
    expect(chips(page)).to_contain_text("and")
    expect(chips(page)).to_contain_text("State is “completed”")
    with page.expect_download() as download:
        page.get_by_role("link", name="Excel (xlsx)").click()
    assert download.value.suggested_filename.endswith(".xlsx"), download.value.suggested_filename
    assert download.value.path().read_bytes()[:4] == b"PK\x03\x04"
    page.get_by_role("link", name="Take off: Amount is at least 20.5").click()
    expect(chips(page)).not_to_contain_text("Amount")
    expect(chips(page)).to_contain_text("State is “completed”")
    page.get_by_role("link", name="Take off: State is “completed”").click()
    expect(chips(page)).to_have_count(0)
    expect(rows(page)).to_have_count(everything)
    watch.assert_none("filters")

    page, watch = visitor(browser, options["url"], java_script_enabled=False)
    page.goto(f"/?{options['period']}")
    page.locator("details.builder > summary").click()
    expect(page.get_by_role("button", name="A further condition")).to_be_hidden()
    condition(page.locator("form.builder .condition"), "amount", "gte", "50")
    page.get_by_role("button", name="Add to the filter").click()
    expect(chips(page)).to_contain_text("Amount is at least 50")
    first = number(card(page, "Sales").inner_text())
    # A second one joins the first.
    page.locator("details.builder > summary").click()
    condition(page.locator("form.builder .condition"), "amount", "lt", "5")
    page.get_by_label("With the filter in force").select_option("or")
    page.get_by_role("button", name="Add to the filter").click()
    expect(chips(page)).to_contain_text("or")
    assert number(card(page, "Sales").inner_text()) > first
    watch.assert_none("filters without scripts")


def changes(browser, options):
    """What an earlier run said otherwise, the sale behind that, and every version of it; sites that fell silent; a reconciliation."""
    page, watch = visitor(browser, options["url"])
    page.goto(f"/?{options['period']}")
    page.get_by_role("link", name="Restated", exact=True).click()
    expect(page.locator("h1")).to_have_text("What was restated")
    page.get_by_role("textbox", name="Since").fill("2020-01-01")
    show(page)
    expect(page.get_by_text("Nothing had been published by then.")).to_be_visible()
    # The run before is in the list of those to compare with.
    rows(page).locator("a").first.click()
    expect(page.get_by_text("Compared with the run that finished on")).to_be_visible()
    sale = page.get_by_role("link", name=f"hecone:{options['sale']}")
    expect(page.get_by_role("row").filter(has=sale)).to_contain_text("1,000.00 EUR")
    sale.click()
    page.get_by_role("link", name="Every version of this sale").click()
    expect(page.locator("h1")).to_have_text(f"Versions of sale hecone:{options['sale']}")
    newest = page.locator("main table").last
    change = newest.get_by_role("row").filter(has_text="invoice.amount")
    expect(change.get_by_role("cell").last).to_have_text("1000.0000")
    page.get_by_role("link", name="To the sale").click()
    expect(page.locator("h1")).to_have_text(f"Sale hecone:{options['sale']}")
    page.get_by_role("link", name="Silent", exact=True).click()
    expect(page.get_by_text("No site and no device fell silent.")).to_be_visible()
    expect(page.get_by_text("Read until hecone: 6 January 2026, 00:00.")).to_be_visible()
    page.get_by_role("link", name="Reconciliation", exact=True).click()
    expect(page.locator("h1")).to_have_text("Reconciliation")
    watch.assert_none("changes")


def listed_to_the_end(page, expected):
    """All sales behind the figures, a page at a time."""
    page.get_by_role("link", name="All sales counted here").click()
    further, seen = page.get_by_role("link", name="Next page"), 0
    while True:
        expect(rows(page).first).to_be_visible()
        seen += rows(page).count()
        if not further.count():
            break
        here = page.url
        further.click()
        page.wait_for_url(lambda url: url != here)
    assert seen == expected, (seen, expected)


def behind_a_drawing(page, figure):
    """From a bar or a square to the sales that it counts, to one of them, and back by the browser."""
    start = page.url
    part = page.locator(f"{figure} svg a").first
    said = part.locator("title").text_content().rsplit(": ", 1)[1]
    counted = number(re.match(r"[0-9,]+", said).group())
    part.click()
    page.wait_for_url("**/sales?**")
    expect(rows(page)).to_have_count(counted)
    listed = page.url
    key = urllib.parse.unquote(urllib.parse.urlsplit(rows(page).locator("a").first.get_attribute("href")).path.split("/")[2])
    rows(page).locator("a").first.click()
    expect(page.locator("h1")).to_have_text(f"Sale {key}")
    for part in ["Articles", "Payments", "Events", "All fields"]:
        expect(page.get_by_text(part, exact=True).first).to_be_visible()
    page.go_back()
    expect(page).to_have_url(listed)
    page.go_back()
    expect(page).to_have_url(start)


def files(page):
    """Statistics as CSV and sales as Parquet, by a click."""
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.suggested_filename == "statistics_2026-01-02_2026-01-05.csv", download.value.suggested_filename
    lines = download.value.path().read_text().splitlines()
    assert len(lines) > 1 and all(line.startswith("EUR,") for line in lines[1:]), lines
    page.get_by_role("link", name="All sales counted here").click()
    expect(rows(page).first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Parquet").click()
    assert download.value.path().read_bytes()[:4] == b"PAR1"
    page.go_back()


def phone(browser, options):
    """A narrow screen has the figures first and the form a touch away; a wide one has both."""
    page, watch = visitor(browser, options["url"], viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2)
    page.goto(f"/?{options['period']}")
    period = page.get_by_role("combobox", name="Period", exact=True)
    expect(period).to_be_hidden()
    expect(card(page, "Revenue")).to_be_in_viewport()
    page.get_by_text("View", exact=True).tap()
    expect(period).to_be_visible()
    page.get_by_role("combobox", name="Compare with").select_option("calendar")
    page.get_by_role("button", name="Show").tap()
    expect(page).to_have_url(re.compile("compare=calendar"))
    page.get_by_role("link", name="Sites", exact=True).tap()
    expect(page.locator("h1")).to_contain_text("Sites")
    expect(period).to_be_hidden()
    page.set_viewport_size(DESKTOP)
    expect(period).to_be_visible()
    watch.assert_none("phone")


def paper(browser, options):
    """The first view is one sheet of paper, without what only a screen can use."""
    page, watch = visitor(browser, options["url"])
    page.goto(f"/?{options['period']}")
    page.emulate_media(media="print")
    expect(page.get_by_role("button", name="Show")).to_be_hidden()
    expect(card(page, "Revenue")).to_be_visible()
    edge = dict.fromkeys(["top", "right", "bottom", "left"], "10mm")
    sheets = re.findall(rb"/Type */Page\b", page.pdf(format="A4", margin=edge))
    assert len(sheets) == 1, f"{len(sheets)} sheets"
    watch.assert_none("paper")


def news(browser, options):
    """A run that is published while a page is open is told on it, and shown by a click. The page's clock is put forward, so that nobody waits."""
    page, watch = visitor(browser, options["url"])
    page.clock.install()
    page.goto("/?from=2026-01-01&to=2026-02-01")
    before, figure = page.locator("body").get_attribute("data-run"), number(card(page, "Sales").inner_text())
    line = page.locator("#news")
    expect(line).to_be_hidden()
    run(options["command"])
    deadline = time.monotonic() + LIMIT_MS / 1000
    while not line.is_visible():
        assert time.monotonic() < deadline, "the newer run is not told"
        with page.expect_response("**/news.json") as answered:
            page.clock.fast_forward(31_000)
        answered.value.finished()
    page.get_by_role("link", name="Show them").click()
    expect(page.locator("body")).not_to_have_attribute("data-run", before)
    shown = number(card(page, "Sales").inner_text())
    assert shown > figure, (shown, figure)
    watch.assert_none("news")


FOCUSED = """() => {
    const found = document.activeElement, style = getComputedStyle(found), place = found.getBoundingClientRect();
    const name = found.getAttribute("aria-label") ?? found.getAttribute("name") ?? found.textContent.trim();
    const isSeen = place.width > 0 && place.height > 0 && place.bottom > 0 && place.right > 0 && place.top < innerHeight && place.left < innerWidth;
    found.visits = (found.visits ?? 0) + 1;
    return {tag: found.tagName, name, isSeen, ring: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth), visits: found.visits};
}"""
STOPS = """() => [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")]
    .filter(stop => stop.tabIndex >= 0 && stop.checkVisibility({visibilityProperty: true}) && stop.getClientRects().length).length"""


def tabbed(page):
    """The element that Tab leads to, which has to be seen, with a ring around it."""
    page.keyboard.press("Tab")
    focused = page.evaluate(FOCUSED)
    if focused["tag"] != "BODY":
        assert focused["isSeen"] and focused["ring"] >= 2, focused
    return focused


def tab_to(page, name):
    seen = []
    while not seen or seen[-1]["name"] != name:
        seen.append(tabbed(page))
        assert len(seen) < 500, f"no Tab leads to {name!r}: {[stop['name'] for stop in seen]}"


def keyboard(browser, options):
    """From the login to one sale and out, without a mouse; every stop on the way is seen."""
    page, watch = visitor(browser, options["url"])
    name, password = options["other"], options["users"][options["other"]]
    page.goto(f"/?{options['period']}")
    expect(page.get_by_label("Name")).to_be_focused()
    page.keyboard.type(name)
    tabbed(page)
    page.keyboard.type(password)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("January 2026")

    # Once around: as many stops as there are, each of them once. Notices come a little later than the page.
    page.wait_for_load_state("networkidle")
    expected, stops = page.evaluate(STOPS), []
    while not stops or stops[-1]["tag"] != "BODY":
        stops.append(tabbed(page))
        assert stops[-1]["visits"] == 1, f"Tab comes to {stops[-1]} twice"
    assert len(stops) - 1 == expected, (expected, len(stops) - 1, [stop["name"] for stop in stops])
    tab_to(page, "To the content")
    page.keyboard.press("Enter")
    tab_to(page, "from")
    assert page.url.endswith("#main"), page.url
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("2026-01-02")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("from=2026-01-02"))
    page.locator("main").wait_for()
    tab_to(page, "As a table")
    page.keyboard.press("Enter")
    table = page.locator("figure.chart table").first
    expect(table).to_be_visible()
    tabbed(page)
    tabbed(page)
    counted = number(page.evaluate("document.activeElement.textContent"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/sales?**")
    expect(rows(page)).to_have_count(counted)
    said = rows(page).locator("a").first.inner_text()
    tab_to(page, said)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sales/**")
    expect(page.locator("h1")).to_contain_text("Sale ")
    tab_to(page, "Log out")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Name")).to_be_focused()
    watch.assert_none("keyboard")


def sessions(browser, options):
    """Two tenants at two browsers, neither of whom sees the other; a wrong password; a session that ends; a link from elsewhere."""
    url, users = options["url"], options["users"]
    own, other = options["own"], options["other"]
    found = {}
    for name in (own, other):
        page, watch = visitor(browser, url)
        page.goto(f"/sales?{options['period']}")
        log_in(page, name, "a wrong password")
        expect(page.get_by_role("alert")).to_have_text("The name or the password is not right.")
        expect(page.get_by_label("Name")).to_have_value(name)
        log_in(page, name, users[name])
        page.wait_for_url("**/sales?**")
        links = rows(page).locator("a").evaluate_all("links => links.map(link => link.pathname)")
        found[name] = (page, watch, set(links), page.locator("main").inner_text())
    (page, watch, sales, text), (other_page, other_watch, other_sales, other_text) = found[own], found[other]
    assert sales and other_sales and not sales & other_sales
    assert options["tenants"][other] not in page.content() and options["tenants"][own] not in other_page.content()

    # The address of a sale of the other is that of no sale, and its tenant one that there is not.
    theirs = sorted(other_sales)[0]
    assert other_page.goto(theirs).status == 200
    assert page.goto(theirs).status == 404
    expect(page.get_by_role("alert")).to_contain_text("Id: ")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    assert page.goto(f"/?{options['period']}&tenant={urllib.parse.quote(options['tenants'][other])}").status == 400
    expect(page.get_by_role("alert")).to_contain_text("there is no tenant")

    # A link from another site is followed without the cookie, and still leads to the page.
    page.goto("about:blank")
    page.set_content(f'<a href="{url}/sites?{options["period"]}">a message with a link</a>')
    page.get_by_role("link").click()
    page.wait_for_url("**/sites?**")
    expect(page.locator("h1")).to_contain_text("Sites")

    # The session ends with its password: the next click leads to the login, and that to where the click would have.
    run(options["command"])
    deadline = time.monotonic() + LIMIT_MS / 1000
    while page.context.request.get(f"{url}/news.json", headers={"accept": "application/json"}).status != 401:
        assert time.monotonic() < deadline, "the session lives on"
    page.get_by_role("link", name="Sources", exact=True).click()
    page.wait_for_url("**/login?**")
    log_in(page, own, options["new_password"])
    page.wait_for_url("**/sources?**")
    expect(page.locator("h1")).to_have_text("Health of the sources")
    # What a browser keeps for a while is gone at its end.
    page.context.clear_cookies()
    page.reload()
    expect(page.get_by_label("Password")).to_be_visible()

    # After the way out nothing comes back.
    other_page.goto(f"/sales?{options['period']}")
    other_page.get_by_role("button", name="Log out").click()
    expect(other_page.get_by_label("Password")).to_be_visible()
    other_page.go_back()
    expect(other_page.get_by_label("Password")).to_be_visible()
    assert "/login" in other_page.url, other_page.url
    watch.assert_none(own)
    other_watch.assert_none(other)


def pages(browser, options):
    """Every page, at both widths and in both colour schemes: nothing that axe calls grave, nothing wider than the screen, and no link to a page that is not in the list."""
    page, watch = visitor(browser, options["url"])
    known, leads, faults, looks = set(), set(), [], 0
    name, password = next(iter(options["users"].items()))
    for which in PAGES:
        if not which.is_before_login and not page.context.cookies():
            page.goto("/login")
            log_in(page, name, password)
            page.wait_for_url(lambda url: "/login" not in url)
        open_page(page, which, options["period"])
        known.add(shape(page.url))
        leads |= linked(page, options["url"])
        for width in (PHONE, DESKTOP):
            page.set_viewport_size(width)
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                faults += look(page, f"{which.name}, {width['width']} wide, {scheme}", scheme)
                looks += 1
    assert leads <= known, f"pages that are linked and stand in no line of PAGES: {sorted(leads - known)}"
    assert not faults, "\n".join(faults)
    # Looking finds what is there to be found.
    page.evaluate("document.querySelector('main').append(document.createElement('img'), document.createElement('button'))")
    planted = graves(page)
    assert any("image-alt" in fault for fault in planted) and any("button-name" in fault for fault in planted), planted
    watch.assert_none("pages")
    return {"pages": len(PAGES), "looks": looks}


def look(page, where, scheme):
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    # What is folded is looked at too.
    folded = page.locator("details:not([open], .currency)").evaluate_all("all => all.map(one => { one.open = true; return one; }).length")
    found = graves(page)
    if folded:
        wide = max(wide, page.evaluate("document.documentElement.scrollWidth - innerWidth"))
    shade = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((a, b) => a + b)")
    if wide > 0:
        found.append(f"it is {wide} pixels wider than the screen")
    if (shade < 300) != (scheme == "dark"):
        found.append(f"its ground is not {scheme}")
    return [f"{where}: {fault}" for fault in found]


def graves(page):
    found = Axe().run(page, context=LOOKED_AT, options=AXE).response["violations"]
    return [
        f"{fault['id']} ({fault['impact']}), {len(fault['nodes'])} times: {fault['help']}: {fault['nodes'][0]['html'][:300]}"
        for fault in found
        if fault["impact"] in GRAVE
    ]


def hostile(browser, options):
    """Names that a provider chose, and words of an address: text wherever they are shown, and never more."""
    url, name = options["url"], options["name"]
    page, watch = visitor(browser, url)
    site, word = urllib.parse.quote(options["site"], safe=""), urllib.parse.quote(name, safe="")
    period = options["period"]
    shown = 0
    for which in PAGES:
        if not which.is_before_login:
            open_page(page, which, f"{period}&site={site}")
            is_shown = name.split("\u202e")[0] in page.locator("body").inner_text()
            shown += is_shown
            assert_plain(page, which.name)
    page.goto(f"/sites/{site}")
    expect(page.locator("h1")).to_contain_text("<script>")
    assert_plain(page, "site")
    # The narrowed overview and sales name the site; the sale its articles too.
    assert shown >= 3, shown
    for address in [
        *(f"/?{period}&{parameter}={word}" for parameter in ["tenant", "source", "filter", "timezone", "compare", "site", "currency", "states", "as_of", "lang"]),
        *(f"/sales?{period}&{parameter}={word}" for parameter in ["cursor", "product", "payment_method", "weekday"]),
        *(f"/silent?{parameter}={word}" for parameter in ["tenant", "source", "as_of"]),
        *(f"/restated?{parameter}={word}" for parameter in ["since", "tenant", "source", "as_of"]),
        f"/reconciliations?reconciliation={word}",
        f"/filter?path={word}&field={word}&operator={word}&value={word}",
        f"/filter?path=/sales&{period}&field=site_name&operator=eq&value={word}",
        f"/sales/{word}",
        f"/sales/{word}/versions",
        f"/sites/{word}",
        f"/?from={word}&to={word}",
        "/login?next=javascript:alert(1)",
    ]:
        page.goto(address)
        assert_plain(page, address)
    watch.assert_none("hostile")

    # The policy stops what would get past, and the watch sees that it does.
    page.goto(f"/?{period}")
    page.evaluate(
        """async () => {
            const planted = document.createElement("div");
            planted.innerHTML = `<img src="x" onerror="window.isRun = true"><img src="http://example.com/x.png"><p style="color: red">x</p>`;
            const script = document.createElement("script");
            script.textContent = "window.isRun = true";
            document.body.append(planted, script);
            await fetch("http://example.com/").catch(() => null);
        }"""
    )
    for part in ["script-src-elem inline", "script-src-attr inline", "style-src-attr inline", "img-src http://example.com", "connect-src http://example.com"]:
        deadline = time.monotonic() + LIMIT_MS / 1000
        while not any(part in fault for fault in watch.faults):
            assert time.monotonic() < deadline, (part, watch.faults)
            page.evaluate("new Promise(requestAnimationFrame)")
    assert page.evaluate("window.isRun") is None


def assert_plain(page, where):
    """No element in a page but those that the server makes."""
    found = page.locator("main script, main img, main iframe, main style, main object, main [onerror]").count()
    assert found == 0 and "\u202e" not in page.content(), where


def main():
    options = json.loads(sys.argv[1])
    found = {}
    with chromium() as browser:
        for name in sys.argv[2:]:
            began = time.monotonic()
            found.update(WALKS[name](browser, options) or {})
            print(f"{name}: {time.monotonic() - began:.1f} s", file=sys.stderr)
    answer(found)


WALKS = {walk.__name__: walk for walk in (person, filters, changes, phone, paper, news, keyboard, sessions, pages, hostile)}

if __name__ == "__main__":
    main()
