"""The report in a real browser: opens from disk, filters, sorts, is sent by its address, is followed.

`BPFROOTS_SCREENSHOTS=RUN` makes docs/report.png and docs/report-case.png of that run.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from bpfroots.programs.protocol import Mechanism
from bpfroots.report import html
from bpfroots.results.model import Cell, Cost, Expected, KernelInfo, Root, RunInfo
from bpfroots.results.store import RunStore, find_run
from tests import ROOT

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromedriver") and shutil.which("chromium")),
    reason="needs chromium and chromium-driver: bpfroots setup",
)

_CASES = 1250
_TYPES = ("kprobe", "tracepoint", "tc", "xdp", "cgroup_skb/ingress")
# A person notices a tenth of a second, and minds a second. Not for the page's own first layout.
_FILTER_SECONDS = 1.0
_OPEN_SECONDS = 20.0


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(word)
    options.add_argument("--window-size=1400,1250")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a report of 5,000 cells."""
    run_dir = tmp_path_factory.mktemp("run")
    run = RunInfo(1, "2026-11-25T06-00-00Z-compare", ["bpfroots"], "2026-11-25T06:00:00Z")
    run.kernels = [KernelInfo("patched", "6.12.117")]
    html.write(run_dir, run, [cell for number in range(_CASES) for cell in _cells(number)])
    return (run_dir / "report" / "index.html").as_uri()


def _cells(number: int) -> list[Cell]:
    """One case under the four mechanisms; every tenth is refused by multi_root."""
    case = f"gen/made_up-{number:04}"
    kinds = [_TYPES[number % len(_TYPES)], _TYPES[number // 2 % len(_TYPES)]]
    found = []
    for mechanism in ("tail_call", "duplicate", "multi_root"):
        verdict = "reject" if mechanism == "multi_root" and number % 10 == 0 else "accept"
        cell = Cell(case, "patched", mechanism, outcome="pass", verdict=verdict, expected=Expected(verdict))  # type: ignore[arg-type]
        message = "same insn cannot be used with different contexts" if verdict == "reject" else ""
        cell.roots = [Root(f"on_{n}", kind, verdict, message=message) for n, kind in enumerate(kinds)]  # type: ignore[arg-type]
        cell.cost = Cost(roots=2, jit_images=3, jit_bytes=100 + number, processed_insns=50 + number)
        found.append(cell)
    return [*found, Cell(case, "patched", "fd_name", outcome="unsupported", reason="errno 22")]


def _complaints(browser: webdriver.Chrome) -> list[str]:
    log = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in log]


def _shown(browser: webdriver.Chrome) -> int:
    """Rows that pass the filter; not all of them are laid out at once."""
    words = str(browser.execute_script("return document.getElementById('count').textContent"))
    return int(words.split()[0]) if words else 4 * _CASES


def _rows(browser: webdriver.Chrome) -> int:
    script = "return document.querySelectorAll('#cases tbody tr:not([hidden])').length"
    return int(browser.execute_script(script))


def _timed(browser: webdriver.Chrome, script: str) -> float:
    """Seconds from an input to the frame that shows it."""
    seconds = browser.execute_async_script(
        f"const done = arguments[0], start = performance.now(); {script};"
        "requestAnimationFrame(() => setTimeout(() => done((performance.now() - start) / 1000)));"
    )
    return float(seconds)


def _type(text: str) -> str:
    event = "new Event('input', {bubbles: true})"
    return f"const q = document.forms.filter.q; q.value = {text!r}; q.dispatchEvent({event})"


@pytest.mark.quiet
def test_five_thousand_cells_open_and_filter(browser: webdriver.Chrome, index: str) -> None:
    start = time.monotonic()
    browser.get(index)
    opened = time.monotonic() - start
    assert _shown(browser) == 4 * _CASES
    filtered = [_timed(browser, _type(text)) for text in ("made_up-00", "kprobe", "contexts", "")]
    print(f"opened in {opened:.2f} s, filtered in {', '.join(f'{s:.2f}' for s in filtered)} s")  # noqa: T201
    assert opened < _OPEN_SECONDS
    assert max(filtered) < _FILTER_SECONDS
    assert _complaints(browser) == []


def test_filter_by_text_and_verdict_and_send_the_address(browser: webdriver.Chrome, index: str) -> None:
    browser.get(index)
    box = browser.find_element(By.NAME, "q")
    box.send_keys("contexts")
    assert _shown(browser) == _CASES // 10
    browser.find_element(By.NAME, "mechanism").send_keys("multi_root")
    assert _shown(browser) == _CASES // 10
    box.send_keys(Keys.BACKSPACE * 8)
    browser.find_element(By.NAME, "type").send_keys("kprobe")
    browser.find_element(By.NAME, "verdict").send_keys("reject")
    expected = sum(
        "kprobe" in (_TYPES[n % len(_TYPES)], _TYPES[n // 2 % len(_TYPES)]) for n in range(0, _CASES, 10)
    )
    assert 0 < _shown(browser) == expected
    address = browser.current_url
    browser.get("about:blank")
    browser.get(address)
    assert _shown(browser) == expected
    assert browser.find_element(By.NAME, "type").get_attribute("value") == "kprobe"
    assert _complaints(browser) == []


def test_rows_come_as_one_scrolls(browser: webdriver.Chrome, index: str) -> None:
    browser.get(index)
    first = _rows(browser)
    assert 0 < first < 4 * _CASES
    browser.execute_script("document.getElementById('more').scrollIntoView()")
    WebDriverWait(browser, _OPEN_SECONDS).until(lambda _: _rows(browser) > first)


def test_a_slash_begins_a_search(browser: webdriver.Chrome, index: str) -> None:
    browser.get(index)
    browser.find_element(By.TAG_NAME, "body").send_keys("/")
    browser.switch_to.active_element.send_keys("made_up-0007")
    assert _shown(browser) == 4


def _focused(browser: webdriver.Chrome) -> str:
    """The row that has the keyboard: its case and mechanism."""
    row = "document.activeElement.closest('#cases tbody tr')"
    return str(
        browser.execute_script(f"const row = {row}; return row && row.innerText.split(/\\s+/, 3).join(' ')")
    )


def _press(browser: webdriver.Chrome, *keys: str) -> str:
    """What has the keyboard after each of these."""
    for key in keys:
        browser.switch_to.active_element.send_keys(key)
    return _focused(browser)


def test_keys_go_from_row_to_row(browser: webdriver.Chrome, index: str) -> None:
    browser.get("about:blank")  # else the page stays, and what has its keyboard
    browser.get(index + "#q=made_up-0010")
    assert _press(browser, "j") == "gen/made_up-0010 tail_call accept"
    assert _press(browser, "j", Keys.ARROW_DOWN) == "gen/made_up-0010 multi_root reject"
    assert _press(browser, "k") == "gen/made_up-0010 duplicate accept"
    assert _press(browser, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_DOWN).endswith("fd_name unsupported")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    assert "gen/made_up-0010" in browser.title
    assert _complaints(browser) == []


def test_keys_between_the_search_and_its_rows(browser: webdriver.Chrome, index: str) -> None:
    browser.get(index)
    _press(browser, "/", *"made_up-0007")
    # A letter in the search is a letter.
    assert _press(browser, "k", Keys.BACKSPACE, "j", Keys.BACKSPACE) == "None"
    assert _press(browser, Keys.ARROW_DOWN).startswith("gen/made_up-0007 tail_call")
    assert _press(browser, Keys.ARROW_UP) == "None"
    assert browser.switch_to.active_element.get_attribute("name") == "q"


def test_keys_bring_more_rows(browser: webdriver.Chrome, index: str) -> None:
    browser.get(index)
    last = "const rows = document.querySelectorAll('#cases tbody tr:not([hidden])'); rows[rows.length - 1]"
    browser.execute_script(f"{last}.querySelector('a').focus()")
    before = _focused(browser)
    assert _press(browser, "j") not in (before, "None")


def test_sort_by_a_figure(browser: webdriver.Chrome, index: str) -> None:
    browser.get(index + "#mechanism=duplicate")
    button = browser.find_element(By.CSS_SELECTOR, "#cases th[data-key=jit_bytes] button")
    button.click()
    first = "return document.querySelector('#cases tbody tr:not([hidden]) a.case').textContent"
    assert browser.execute_script(first) == "gen/made_up-0000"
    button.click()
    assert browser.execute_script(first) == f"gen/made_up-{_CASES - 1}"
    assert "sort=-jit_bytes" in browser.current_url


def test_follow_a_case(browser: webdriver.Chrome, index: str) -> None:
    browser.get(index + "#q=made_up-0010")
    link = browser.find_element(By.CSS_SELECTOR, "#cases tbody tr:not([hidden]) a.case")
    link.send_keys(Keys.ENTER)
    assert "gen/made_up-0010" in browser.title
    assert "different contexts" in browser.find_element(By.TAG_NAME, "body").text
    assert _complaints(browser) == []


@pytest.fixture(scope="module")
def case_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a case's page: a program whose shared body keeps one instruction more."""
    run_dir = tmp_path_factory.mktemp("case")
    run = RunInfo(1, "2026-11-25T06-00-00Z-compare", ["bpfroots"], "2026-11-25T06:00:00Z")
    cells = []
    both: tuple[tuple[Mechanism, str], ...] = (("duplicate", ""), ("multi_root", "   15:  nop\n"))
    for mechanism, kept in both:
        cell = Cell(
            "body/x-tc", "patched", mechanism, outcome="pass", verdict="accept", expected=Expected("accept")
        )
        cell.roots = [Root("on_tc", "tc", "accept")]
        body = "".join(f"{at:>5x}:  mov eax, {at}\n" for at in range(20))
        log = "0: (b7) r0 = 0\n" if kept else "7: (b7) r0 = 0\n"
        code = f"{body}   14:  jne 0x16\n{kept}   16:  ret\n"
        files = {
            "on_tc.jited.asm": f"; bpf_prog_body addr=0 bytes=9 file+0x0\n{code}",
            "on_tc.verifier.log": log + "processed 1 insns\n",
        }
        for name, content in files.items():
            path = run_dir / mechanism / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
            cell.artefacts[name] = f"{mechanism}/{name}"
        cells.append(cell)
    html.write(run_dir, run, cells)
    return (run_dir / "report" / "case" / "body" / "x-tc.html").as_uri()


def _beside(browser: webdriver.Chrome) -> list[list[str]]:
    rows = browser.find_elements(By.CSS_SELECTOR, "table.beside tr:not([hidden])")
    return [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")] for row in rows]


def test_two_programs_side_by_side(browser: webdriver.Chrome, case_page: str) -> None:
    browser.get(case_page)
    rows = _beside(browser)
    assert ["", "15 nop"] in rows
    assert ["14 jne 0x16"] * 2 in rows
    assert rows[0] == ["19 equal lines"]
    browser.find_element(By.CSS_SELECTOR, "table.beside button").click()
    assert _beside(browser)[0] == ["; bpf_prog_body"] * 2
    form = browser.find_element(By.CSS_SELECTOR, "#beside form")
    assert "1 line differs" in form.text
    form.find_element(By.NAME, "what").send_keys("verifier log")
    # Where an instruction stands is no difference.
    assert "equal" in form.find_element(By.TAG_NAME, "output").text
    assert _complaints(browser) == []


def test_dark_and_light(browser: webdriver.Chrome, index: str) -> None:
    def background(scheme: str) -> str:
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        return str(
            browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
        )

    browser.get(index)
    assert background("dark") != background("light")


def test_twin_a_script_error_is_seen(browser: webdriver.Chrome, index: str, tmp_path: Path) -> None:
    broken = tmp_path / "index.html"
    broken.write_text("<script>nothing.of_this = is_there</script>")
    browser.get(broken.as_uri())
    assert len(_complaints(browser)) == 1


@pytest.mark.skipif("BPFROOTS_SCREENSHOTS" not in os.environ, reason="only on request")
def test_screenshots(browser: webdriver.Chrome) -> None:
    store = RunStore.open(find_run(os.environ["BPFROOTS_SCREENSHOTS"]))
    browser.get((store.path / "report" / "index.html").as_uri())
    browser.save_screenshot(str(ROOT / "docs" / "report.png"))
    link = browser.find_element(By.PARTIAL_LINK_TEXT, "example/kprobe+cgroup_skb")
    browser.get(str(link.get_attribute("href")))
    browser.save_screenshot(str(ROOT / "docs" / "report-case.png"))
    assert _complaints(browser) == []
