"""The page of ``skillstat report`` in a real browser."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from skillstat_agg import SKILL_STATS, Event, Uncountable, drain
from skillstat_agg.backends.sqlite import SQLiteEventStore, SQLiteStatsStore, create_tables
from skillstat_agg.cli._output import visible
from tests import chromium
from tests.command_line import run
from tests.logs import NOON, download

BEYOND = 2**53 + 1
HOSTILE = (
    "<script>document.title = 'taken'</script>",
    "</script><script>document.title = 'taken'</script>",
    "<img src=x onerror=\"document.title = 'taken'\">",
    "javascript:document.title='taken'",
    "\"'><svg onload=\"document.title = 'taken'\">",
    "'; DROP TABLE skill_stats_totals; --",
    "\x1b[31mred\x1b[0m",
    "exe.\u202egpj",
    "two\nlines\ttab\u2028",
    "__proto__",
    "constructor",
    "&lt;&amp;",
    "{{ 7 * 7 }}",
    "\N{FOX FACE}",
    "\u05e9\u05dc\u05d5\u05dd",
    "x" * 1_000,
)
SKILLS = 10_000
MONTH = ("--until", NOON.date())


def clear(skill_id: str, amount: int) -> Event:
    """An event that carries a number of any size."""
    deltas = {"all_time": amount, "current": 0}
    return Event(skill_id=skill_id, kind="install_clear", occurred_at=NOON, deltas=deltas)


def page_of(path: Path, events: list[Event], *options: object) -> Path:
    """Return the page of a file in which these events were counted."""
    with closing(sqlite3.connect(path)) as db:
        create_tables(db, SKILL_STATS)
        log = SQLiteEventStore(db)
        log.append(events)
        drain(log, SQLiteStatsStore(db, SKILL_STATS), uncountable=Uncountable.PARK)
    return reported(path, *options)


def reported(path: Path, *options: object) -> Path:
    out = path.with_suffix(".html")
    assert run("report", "--db", path, *MONTH, *options, out).exit_code in (0, 3)
    return out


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. It ends with this module: while it runs, no event loop can be started."""
    executable = chromium.found()
    if executable is None:
        if chromium.is_required():
            pytest.fail(chromium.MISSING)
        pytest.skip(chromium.MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=list(chromium.ARGUMENTS)
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """A page of skills whose ids are attacks, with numbers of all sizes."""
    events = [download(skill, NOON - timedelta(days=1)) for skill in HOSTILE]
    events += [clear("large", BEYOND), clear("larger", BEYOND + 1), clear("below", -3)]
    events += [download(skill) for skill in ("nine", *["ten"] * 10, *["hundred"] * 100)]
    events.append(
        Event(skill_id=HOSTILE[1], kind=HOSTILE[0], occurred_at=NOON, event_id=HOSTILE[2])
    )
    return page_of(tmp_path_factory.mktemp("hostile") / "stats.db", events)


@pytest.fixture(scope="module")
def many(tmp_path_factory) -> Path:
    """A page of 10,000 skills: the n-th has n % 100 + 1 downloads in the last month."""
    with closing(sqlite3.connect(tmp_path_factory.mktemp("many") / "stats.db")) as db:
        create_tables(db, SKILL_STATS)
        path = Path(db.execute("PRAGMA database_list").fetchone()[2])
        day = str(NOON.date())
        rows = [(f"acme/skill-{number:05}", number % 100 + 1) for number in range(SKILLS)]
        with db:
            db.executemany(
                "INSERT INTO skill_stats_totals (skill_id, downloads) VALUES (?, ?)", rows
            )
            db.executemany(
                "INSERT INTO skill_stats_daily (day, skill_id, downloads) VALUES (?, ?, ?)",
                ((day, *row) for row in rows),
            )
    return reported(path)


Open = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Open]:
    """Opens pages. In the end none has said a word, asked for anything, or run what is not ours."""
    words: list[str] = []
    requests: list[str] = []
    pages: list[Page] = []

    def open_page(path: Path, **settings: object) -> Page:
        page = browser.new_page(**settings)  # type: ignore[arg-type]  # as they are named
        page.set_default_timeout(20_000)
        page.on("console", lambda message: words.append(message.text))
        page.on("pageerror", lambda error: words.append(str(error)))
        page.on("dialog", lambda dialog: words.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        pages.append(page)
        return page

    yield open_page

    titles = [page.title() for page in pages]
    own = [page.url.partition("#")[0] for page in pages]
    for page in pages:
        page.context.close()
    assert words == []
    assert requests == own
    assert "taken" not in titles


def ids(page: Page) -> list[str]:
    """Return the ids that the table shows, from above."""
    return page.locator("#rows > tr > th .id").all_text_contents()


def sort(page: Page, name: str) -> str | None:
    """Press a button in the head of the table; return what the head says then."""
    head = page.locator("#table thead").first.locator("th", has_text=name)
    head.get_by_role("button").click()
    return head.get_attribute("aria-sort")


def column(page: Page, place: int) -> list[str]:
    return page.locator(f"#rows > tr > :nth-child({place})").all_text_contents()


# Escaping


def test_ids_are_text_whatever_is_in_them(opened, hostile):
    """Each stands in the table as it would on a terminal; nothing in it is obeyed."""
    page = opened(hostile)

    assert set(map(visible, HOSTILE)) <= set(ids(page))
    assert page.locator("img, iframe, object, embed, form").count() == 0
    assert page.locator("script").count() == 2


def test_boards_and_quarantine_escape_as_well(opened, hostile):
    page = opened(hostile)

    parked = page.get_by_role("region", name="Events in quarantine").locator("tbody tr")
    on_board = page.locator(".board").first.locator(".id")

    assert parked.locator(".id").all_text_contents() == [HOSTILE[1], HOSTILE[2]]
    assert parked.locator("td").nth(1).text_content() == HOSTILE[0]
    assert set(on_board.all_text_contents()) <= {visible(skill) for skill in HOSTILE} | {
        "hundred",
        "ten",
        "nine",
    }


def test_escapes_are_told_from_text_that_looks_like_them(opened, hostile):
    page = opened(hostile)

    page.get_by_label("Filter by id").fill("gpj")

    assert page.locator("#rows .escape").all_text_contents() == ["\\u202e"]
    assert page.locator("#rows bdi").count() == 1


def test_a_script_that_is_not_ours_is_refused(browser, hostile):
    """Should a tag ever slip through, the policy of the page stops it, and says so."""
    page = browser.new_page()
    page.goto(hostile.as_uri())

    with page.expect_console_message() as said:
        page.evaluate(
            """() => {
                const script = document.createElement("script");
                script.textContent = "document.title = 'taken'";
                document.body.append(script);
            }"""
        )

    assert "Content Security Policy" in said.value.text
    assert page.title() != "taken"
    page.context.close()


# Sorting, filtering, pages


def test_numbers_are_sorted_as_numbers(opened, hostile):
    page = opened(hostile)

    assert ids(page)[:3] == ["hundred", "ten", "\\x1b[31mred\\x1b[0m"]
    assert sort(page, "downloads 30 days") == "ascending"
    assert sort(page, "downloads 30 days") == "descending"
    assert column(page, 3)[:2] == ["100", "10"]


def test_numbers_beyond_a_double_are_exact(opened, hostile):
    """Two that are the same as doubles stay apart, in text and order."""
    page = opened(hostile)

    assert sort(page, "installs all time") == "descending"

    assert ids(page)[:2] == ["larger", "large"]
    assert column(page, 7)[:2] == [f"{BEYOND + 1:,}", f"{BEYOND:,}"]


def test_sums_below_zero_are_shown_as_zero_and_say_so(opened, hostile):
    page = opened(hostile)

    page.get_by_label("Filter by id").fill("below")

    cell = page.locator("#rows abbr")
    assert cell.text_content() == "0"
    assert cell.get_attribute("title") == "stored as -3"


def test_ids_are_sorted_by_code_points(opened, hostile):
    page = opened(hostile)

    assert sort(page, "skill") == "ascending"
    first = ids(page)
    assert sort(page, "skill") == "descending"

    everyone = sorted({*HOSTILE, "large", "larger", "below", "nine", "ten", "hundred"})
    assert first == [visible(skill) for skill in everyone[: len(first)]]
    assert ids(page)[0] == visible(everyone[-1])


def test_everything_works_from_the_keyboard(opened, hostile):
    page = opened(hostile)
    page.get_by_label("Filter by id").focus()
    page.keyboard.type("HUNDRED")
    page.keyboard.press("Tab")  # what is drawn
    page.keyboard.press("ArrowDown")
    drawn = page.locator("#rows title").text_content()
    page.keyboard.press("Tab")  # the box of the table
    page.keyboard.press("Tab")  # the first head
    page.keyboard.press("Enter")

    assert ids(page) == ["hundred"]
    assert drawn == "hundred: installs by day, 30 days, at most 0"
    focused = page.locator(":focus")
    assert focused.text_content() == "skill"
    assert focused.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
    assert page.locator("th", has=focused).get_attribute("aria-sort") == "ascending"


def test_a_skill_opens_and_shows_its_days(opened, hostile):
    page = opened(hostile)
    page.get_by_label("Filter by id").fill("hundred")
    button = page.locator("#rows button")

    button.press("Enter")

    days = page.get_by_role("region", name="hundred by day").locator("tbody tr")
    assert button.get_attribute("aria-expanded") == "true"
    assert days.count() == 30
    assert days.last.text_content() == "2026-03-011000"
    button.press("Enter")
    assert button.get_attribute("aria-expanded") == "false"
    assert page.locator(".details").count() == 0


def test_a_board_and_the_table_draw_the_same(opened, hostile):
    """The outline that Python draws is the one that the script draws."""
    page = opened(hostile)
    board = page.locator(".board").first.locator("tr", has_text="hundred").locator("svg")
    page.get_by_label("Filter by id").fill("hundred")
    table = page.locator("#rows svg")

    assert board.locator("path").get_attribute("d") == table.locator("path").get_attribute("d")
    assert board.inner_html().partition("<path")[0] == table.inner_html().partition("<path")[0]


def test_ten_thousand_skills_stay_usable(opened, many):
    """The page holds a bounded number of elements, and finds every skill."""
    page = opened(many)

    nodes = page.evaluate("document.querySelectorAll('*').length")
    found = page.locator("#found")
    assert nodes < 2_500
    assert found.text_content() == "10,000 of 10,000 skills"
    assert page.locator("#place").text_content() == "page 1 of 400"
    assert ids(page) == [f"acme/skill-{number:05}" for number in range(99, 2_599, 100)]

    page.get_by_label("Filter by id").fill("SKILL-0777")
    assert found.text_content() == "10 of 10,000 skills"
    assert set(ids(page)) == {f"acme/skill-{number:05}" for number in range(7_770, 7_780)}

    page.get_by_label("Filter by id").fill("nobody")
    assert (ids(page), found.text_content()) == ([], "0 of 10,000 skills")
    assert page.evaluate("document.querySelectorAll('*').length") < nodes
    assert many.stat().st_size < 3_000_000


def test_pages_are_turned_and_end_at_both_ends(opened, many):
    page = opened(many)
    back, onward = (page.get_by_role("button", name=name) for name in ("Back", "Next"))
    first = ids(page)

    back.press("Enter")
    assert ids(page) == first
    onward.click()
    assert page.locator("#place").text_content() == "page 2 of 400"
    assert set(ids(page)).isdisjoint(first)
    page.get_by_label("Filter by id").fill("acme/skill-000")
    assert page.locator("#place").text_content() == "page 1 of 4"
    for _ in range(9):
        onward.press("Enter")
    assert page.locator("#place").text_content() == "page 4 of 4"
    assert onward.get_attribute("aria-disabled") == "true"


# Looks


def test_a_phone_scrolls_the_tables_and_not_the_page(opened, hostile):
    page = opened(hostile, viewport={"width": 390, "height": 844})
    page.locator("#rows button").first.click()
    for details in page.locator("details").all():
        details.locator("summary").click()

    assert page.evaluate("document.documentElement.scrollWidth") == 390
    box = page.get_by_role("region", name="Table of skills")
    assert box.evaluate("each => each.scrollWidth > each.clientWidth")


LUMINANCE = """
(each) => {
    const light = (text) => {
        const [red, green, blue] = text.match(/[\\d.]+/g).map((part) => {
            const value = Number(part) / 255;
            return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const painted = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        return colour === "rgba(0, 0, 0, 0)" ? painted(element.parentElement) : colour;
    };
    const [a, b] = [light(getComputedStyle(each).color), light(painted(each))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(opened, tmp_path, scheme):
    """WCAG asks for 4.5 at the level AA; a page with an alert has every colour of text."""
    with closing(sqlite3.connect(tmp_path / "stats.db")) as db:
        create_tables(db, SKILL_STATS)
        SQLiteEventStore(db).append([download("a\x1b"), clear("b", -1)])
        drain(SQLiteEventStore(db), SQLiteStatsStore(db, SKILL_STATS))
        with db:
            db.execute("UPDATE skill_stats_totals SET stars = stars + 1")
    page = opened(reported(tmp_path / "stats.db"), color_scheme=scheme)

    texts = page.locator("h1, h2, h3, p, a, strong, td, th, dt, dd, button, label, summary, i")
    contrasts = texts.evaluate_all(f"all => all.map({LUMINANCE})")

    assert min(contrasts) >= 4.5
    grounds = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert grounds == {"light": "rgb(247, 247, 245)", "dark": "rgb(18, 20, 23)"}[scheme]


def test_charts_have_titles_and_tables_behind_them(opened, hostile):
    page = opened(hostile)

    chart = page.get_by_role("img", name="downloads by day, all skills, 2026-01-31 to 2026-03-01")
    page.get_by_text("downloads as a table").click()
    last = page.get_by_role("region", name="downloads by day", exact=True).locator("tr").last

    assert chart.count() == 1
    assert last.text_content() == "2026-03-01111"
    assert page.get_by_role("img").count() == page.locator("svg[role=img] > title").count()


def test_differences_stand_above_everything(opened, tmp_path):
    page_of(tmp_path / "stats.db", [download()])
    with closing(sqlite3.connect(tmp_path / "stats.db")) as db, db:
        db.execute("UPDATE skill_stats_totals SET downloads = 7")
    page = opened(reported(tmp_path / "stats.db"))

    assert "differ from the log in 1 place" in (page.locator("main > *").first.text_content() or "")
    row = page.get_by_role("region", name="Differences").locator("tbody tr")
    assert row.locator("th, td").all_text_contents() == ["controls.downloads", "1", "7"]


def test_an_empty_database_has_a_page(opened, tmp_path):
    page = opened(page_of(tmp_path / "stats.db", []))

    assert page.get_by_text("No event is counted yet.").is_visible()
    assert page.locator("script, table, #table").count() == 0


def test_without_scripts_all_but_the_table_is_there(opened, hostile):
    page = opened(hostile, java_script_enabled=False)

    assert page.get_by_text("drawn by the script of this page").is_visible()
    assert page.locator("#table").is_hidden()
    assert page.locator(".board bdi").first.is_visible()
