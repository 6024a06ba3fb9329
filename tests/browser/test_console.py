"""The console in a real browser: figures move, an owner sees the own sites, a lost link is told and mended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.console import ISLANDED, OWNED, SITES, Console, a_console
from support.services import find_program, require_service

from vpp.console import frontend_build

pytestmark = pytest.mark.chromium

CHROMIUM_ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
DESKTOP = (1440, 900)
PHONE = (390, 844)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; playwright's own is not fetched."""
    program = find_program("chromium")
    require_service("chromium", program is not None, "apt-get install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(program), args=CHROMIUM_ARGUMENTS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Console]:
    """A console in the middle of an event; asked for after the browser, which may be absent."""
    build_dir = frontend_build.CHECKOUT_DIR / "build"
    frontend_build.build_frontend(work_dir=build_dir / "frontend_work", target_dir=build_dir / "frontend")
    with a_console(tmp_path_factory.mktemp("console")) as running:
        yield running


@dataclass
class Seen:
    """One person's page and everything that the browser complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
def sign_in(console: Console, browser: Browser) -> Iterator[object]:
    """Return a function that signs a person in; at the end no page may have complained."""
    opened: list[Seen] = []

    def start(name: str, size: tuple[int, int] = DESKTOP) -> Seen:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]})
        seen = Seen(context.new_page())
        opened.append(seen)
        # A breach of the content security policy is a console error too.
        seen.page.on("console", lambda m: seen.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        seen.page.goto(f"{console.url}/")
        seen.page.fill("#id_username", name)
        seen.page.fill("#id_password", console.passwords[name])
        seen.page.click("main button[type=submit]")
        return seen

    yield start
    complaints = [text for seen in opened for text in seen.complaints]
    for seen in opened:
        seen.page.context.close()
    assert complaints == []


def changes_of(page: Page, selector: str, times: int) -> list[str]:
    """Return so many different texts of one figure, one after the other."""
    texts: list[str] = []
    for _ in range(times):
        page.wait_for_function(
            "([selector, last]) => { const text = document.querySelector(selector).textContent;"
            " return text !== last && text !== '–'; }",
            arg=[selector, texts[-1] if texts else "–"],
            timeout=15_000,
        )
        texts.append(page.inner_text(selector))
    return texts


def stays_within(page: Page) -> bool:
    """Tell whether nothing makes the page scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


class TestDispatcher:
    def test_the_fleets_figures_move_by_themselves(self, sign_in) -> None:  # type: ignore[no-untyped-def]
        page = sign_in("dispatcher").page
        frequencies = [float(text) for text in changes_of(page, "#frequency", 4)]
        assert all(49.4 < frequency < 50.1 for frequency in frequencies)
        assert len(set(changes_of(page, "#delivered", 3))) > 1
        expect(page.locator("#fresh")).to_have_text(str(SITES))
        expect(page.locator('.modes tr[data-mode="islanded"] .number')).to_have_text("1")
        expect(page.locator("#acknowledged")).to_have_text(str(SITES - 2))
        expect(page.locator("#phase")).to_have_text("Running")
        expect(page.locator("#refused")).to_contain_text("payload_malformed")
        expect(page.locator("#islanded a")).to_have_text(ISLANDED)

    def test_the_charts_draw_and_keep_their_size(self, sign_in, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        page = sign_in("dispatcher").page
        changes_of(page, "#frequency", 4)
        heights = []
        for chart in ("#frequency-chart", "#power-chart"):
            canvas = page.locator(f"{chart} canvas")
            expect(canvas).to_be_visible()
            drawn = canvas.evaluate(
                "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v, i) => i % 4 === 3 && v)"
            )
            assert drawn
            heights.append(page.locator(chart).bounding_box())
        changes_of(page, "#frequency", 2)
        assert heights == [page.locator(chart).bounding_box() for chart in ("#frequency-chart", "#power-chart")]
        folder = Path(os.environ.get("VPP_SCREENSHOT_DIR", str(tmp_path)))
        if "VPP_SCREENSHOT_DIR" in os.environ:
            # Half a minute of curve makes a picture.
            changes_of(page, "#frequency", 30)
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(folder / "console.png"))
        assert (folder / "console.png").stat().st_size > 20_000

    def test_the_islanded_site_is_one_click_away_with_its_waveform(self, sign_in) -> None:  # type: ignore[no-untyped-def]
        page = sign_in("dispatcher").page
        page.click("#islanded a")
        expect(page).to_have_url(f"{page.url.split('/sites')[0]}/sites/{ISLANDED}/")
        expect(page.locator("#mode")).to_have_text("Islanded")
        expect(page.locator("#waveform-title")).to_contain_text("loss of mains")
        expect(page.locator("#waveform-load canvas")).to_be_visible()
        expect(page.locator("#waveform-utility canvas")).to_be_visible()
        assert len(changes_of(page, "#voltage_pu", 2)) == 2

    @pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
    def test_no_page_scrolls_sideways(self, sign_in, console: Console, size: tuple[int, int]) -> None:  # type: ignore[no-untyped-def]
        page = sign_in("dispatcher", size).page
        for address in ("/", "/sites/", f"/sites/{ISLANDED}/", "/dispatches/", "/books/", "/enrolment/"):
            page.goto(console.url + address)
            page.wait_for_load_state("networkidle")
            assert stays_within(page), address


# Ten minutes of 50 Hz, ten of silence, ten of 50 Hz, and silence until a while ago.
SEED_HISTORY = """
import time
from datetime import UTC, datetime
from sites.metering import operations
from sites.metering.batches import Batch
from sites.registry.models import Site
site, now = Site.objects.get(site_id="site-0007"), int(time.time())
batch = Batch()
for s in (*range(now - 3000, now - 2400), *range(now - 1800, now - 1200)):
    batch.take_readings([(site.pk, "", ("frequency_hz",), s * 1000, s * 1000, (50.0,))])
operations.store_batch(batch=batch, states={}, at=datetime.now(UTC))
"""
# Where a chart's first series is drawn, as shares of the plot's width.
DRAWN_AT = """(place) => {
  const canvas = place.querySelector("canvas"), over = place.querySelector(".u-over");
  const scale = canvas.width / canvas.clientWidth, left = over.offsetLeft * scale, width = over.offsetWidth * scale;
  const probe = document.createElement("i");
  probe.style.color = "var(--series-1)";
  document.body.append(probe);
  const wanted = getComputedStyle(probe).color.match(/[0-9]+/g).map(Number);
  probe.remove();
  const found = [], { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  for (let share = 0.02; share < 1; share += 0.02) {
    for (let i = 4 * Math.round(left + share * width); i < data.length; i += 4 * canvas.width) {
      if (data[i + 3] > 200 && wanted.every((part, at) => Math.abs(data[i + at] - part) < 40)) {
        found.push(Math.round(share * 100));
        break;
      }
    }
  }
  return found;
}"""


class TestHistory:
    def test_a_gap_is_a_gap_and_a_span_without_data_says_so(self, sign_in, console: Console) -> None:  # type: ignore[no-untyped-def]
        console.platform.manage("shell", "-v", "0", "-c", SEED_HISTORY)
        page = sign_in("owner").page
        page.goto(f"{console.url}/sites/{OWNED[1]}/")
        expect(page.locator("#history-note")).to_contain_text("by the second, times in Europe/London")
        expect(page.locator("#history-frequency .empty")).to_be_hidden()
        drawn = set(page.locator("#history-frequency").evaluate(DRAWN_AT))
        # The hour ends now: its 17th to 33rd and its 50th to 67th hundredths were measured, and nothing between them.
        assert {20, 24, 28, 32, 52, 56, 60, 64} <= drawn
        assert not drawn & {4, 8, 12, 36, 40, 44, 48, 70, 74, 78, 82}
        page.click('[data-span="day"]')
        expect(page.locator("#history-note")).to_contain_text("means of a minute")
        # Nothing rolls up here, so that there are no minutes.
        expect(page.locator("#history-frequency .empty")).to_have_text("Nothing was measured in this time.")

    def test_the_pages_follow_the_device_between_dark_and_light(self, sign_in, console: Console) -> None:  # type: ignore[no-untyped-def]
        page = sign_in("owner").page
        page.goto(f"{console.url}/sites/{OWNED[1]}/")
        grounds = []
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            expect(page.locator("#history-power canvas")).to_be_visible()
        assert grounds == ["rgb(14, 20, 27)", "rgb(238, 241, 245)"]


class TestOwner:
    def test_own_sites_only_and_they_move(self, sign_in) -> None:  # type: ignore[no-untyped-def]
        page = sign_in("owner", PHONE).page
        assert page.locator("[data-site]").evaluate_all("cards => cards.map(c => c.dataset.site)") == list(OWNED)
        islanded, other = (page.locator(f'[data-site="{site_id}"]') for site_id in OWNED)
        expect(islanded.locator('[data-field="verdict"]')).to_have_text("Safe, on its own power")
        expect(other.locator('[data-field="verdict"]')).to_have_text("Safe, on the grid")
        expect(islanded.locator(".earned")).to_contain_text("12.40 GBP")
        assert len(changes_of(page, f'[data-site="{OWNED[1]}"] [data-field="battery"]', 3)) == 3
        assert stays_within(page)


class TestLink:
    def test_a_broker_that_is_gone_is_told_and_the_figures_come_back(self, sign_in, console: Console) -> None:  # type: ignore[no-untyped-def]
        page = sign_in("dispatcher").page
        changes_of(page, "#frequency", 2)
        console.broker.kill()
        try:
            expect(page.locator("#link-banner")).to_contain_text("broker cannot be reached", timeout=15_000)
            status, body = console.health()
            assert (status, body["gone"]) == (503, ["broker"])
        finally:
            console.broker.start()
        expect(page.locator("#link-banner")).to_be_hidden(timeout=30_000)
        assert console.health()[0] == 200
        assert len(changes_of(page, "#frequency", 3)) == 3

    def test_a_web_process_that_died_is_told_and_the_page_comes_back_by_itself(
        self,
        sign_in,
        console: Console,  # type: ignore[no-untyped-def]
    ) -> None:
        seen = sign_in("dispatcher")
        changes_of(seen.page, "#frequency", 2)
        console.web.kill()
        expect(seen.page.locator("#link-banner")).to_contain_text("Connection lost", timeout=15_000)
        console.web.start()
        expect(seen.page.locator("#link-banner")).to_be_hidden(timeout=30_000)
        assert len(changes_of(seen.page, "#frequency", 3)) == 3
        # The browser itself tells each attempt that nobody answered.
        seen.complaints[:] = [text for text in seen.complaints if "WebSocket connection to" not in text]


SEED_DISPATCH = """
import sys
sys.path.insert(0, "tests")
from support import settled
from vpp.dispatch.models import Dispatch
found = settled.an_obligation(name="settled-1")
Dispatch.objects.create(
    dispatch_id=found.dispatch_id, obligation=found, product=found.program.product, power_kw=found.power_kw,
    starts_at=found.starts_at, ends_at=found.ends_at, created_at=settled.AT, status="lapsed",
)
settled.settle(found, settled.a_fleet([60.0, 40.0]))
"""


@pytest.fixture(scope="module")
def settled_dispatch(console: Console) -> None:
    """A settled dispatch in the console's database."""
    console.platform.manage("shell", "-v", "0", "-c", SEED_DISPATCH)


@pytest.mark.usefixtures("settled_dispatch")
class TestDispatchPage:
    """Last in the file: it adds sites to the fleet."""

    @pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
    def test_measured_and_estimated_stand_beside_each_other(  # type: ignore[no-untyped-def]
        self, sign_in, console: Console, size: tuple[int, int]
    ) -> None:
        page = sign_in("auditor", size).page
        page.goto(f"{console.url}/dispatches/")
        page.click("text=DC-settled-1")
        measured, instead = page.locator("#measured"), page.locator("#instead")
        expect(measured).to_be_visible()
        expect(instead).to_be_visible()
        left, right = measured.bounding_box(), instead.bounding_box()
        assert left is not None
        assert right is not None
        assert (abs(left["y"] - right["y"]) < 2.0) == (size == DESKTOP)
        assert stays_within(page)
        expect(page.locator(".parameters").first).to_be_hidden()
        page.click("summary")
        expect(page.locator(".parameters").first).to_be_visible()
        assert stays_within(page)


@pytest.mark.usefixtures("settled_dispatch")
class TestMarket:
    """The desk's way from an event to the rows of a line, and the owner's month."""

    @pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
    def test_the_desk_follows_an_event_down_to_the_rows(  # type: ignore[no-untyped-def]
        self, sign_in, console: Console, size: tuple[int, int]
    ) -> None:
        page = sign_in("desk", size).page
        expect(page).to_have_url(f"{console.url}/market/")
        assert stays_within(page)
        page.locator("td a", has_text="DC-settled-1").click()
        expect(page.locator("h1")).to_have_text("DC-settled-1")
        assert stays_within(page)
        page.click("text=Lines of run 1")
        expect(page.locator(".demonstration")).to_contain_text("Nobody owes this money")
        assert stays_within(page)
        page.click("text=site-2")
        expect(page.locator("h2", has_text="Meter intervals")).to_be_visible()
        assert stays_within(page)
        for address in ("/market/offers/", "/market/products/", "/market/products/fcr-d-up/", "/api/"):
            page.goto(console.url + address)
            assert stays_within(page), address

    def test_an_owner_reads_the_month_and_keeps_it(self, sign_in, console: Console) -> None:  # type: ignore[no-untyped-def]
        page = sign_in("owner", PHONE).page
        page.click("nav >> text=Money")
        expect(page.locator("h1")).to_contain_text("Money, ")
        assert stays_within(page)
        with page.expect_download() as download:
            page.click("text=Download the month as CSV")
        assert download.value.suggested_filename.endswith("-demonstration.csv")
