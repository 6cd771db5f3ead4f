"""Check that nothing on the built pages is cut off: ``python docs/check_pages.py``, after ``make docs``.

Opens every page in headless Chromium, as wide as a telephone, a laptop and a large screen. Fails if a page is wider than the
window, or if text lies outside of the window, its box or its table cell. Code and tables may scroll. Needs selenium,
Chromium and its driver.
"""

import argparse
import shutil
import sys
from pathlib import Path

from selenium import webdriver
from tqdm import tqdm

DOCS = Path(__file__).parent
WIDTHS, HEIGHT = (480, 1000, 1920), 1000
# Returns what is cut off. Folded parts are opened first, because they are read as well.
SCRIPT = """
document.querySelectorAll("details").forEach(one => one.open = true);
const width = document.documentElement.clientWidth, problems = [];
const name = one => `<${one.tagName.toLowerCase()}> "${one.textContent.trim().replace(/\\s+/g, " ").slice(0, 60)}"`;
const scrolls = one => one !== null && (/auto|scroll/.test(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
if (document.documentElement.scrollWidth > width)
  problems.push(`the page is ${document.documentElement.scrollWidth} pixels wide`);
for (const one of document.querySelectorAll("main *, header *, footer *")) {
  const box = one.getBoundingClientRect(), style = getComputedStyle(one);
  if (!one.checkVisibility({visibilityProperty: true}) || box.width < 2 || one.closest("svg, dialog")) continue;
  if ((box.right > width + 1 || box.left < -1) && !scrolls(one.parentElement))
    problems.push(`${name(one)} ends at ${Math.round(box.right)} pixels`);
  const hidden = /hidden|clip/.test(style.overflowX) || /^T[DH]$/.test(one.tagName);
  if (hidden && style.display !== "inline" && one.scrollWidth > one.clientWidth + 1)
    problems.push(`${name(one)} needs ${one.scrollWidth} pixels and has ${one.clientWidth}`);
}
return problems;
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="?", type=Path, default=DOCS / "_build" / "html", help="folder of the pages")
    parser.add_argument("--screenshots", type=Path, help="folder for a picture of every page at every width")
    arguments = parser.parse_args()
    pages = sorted(path for path in arguments.pages.resolve().rglob("*.html") if "_static" not in path.parts)
    if not pages:
        sys.exit(f"{arguments.pages} has no pages. Run `make docs` first.")
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--hide-scrollbars"):
        options.add_argument(option)
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    # Nothing is loaded from elsewhere, so that the result is the same without a connection.
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*"]})
    try:
        problems = [
            f"{page.relative_to(arguments.pages.resolve())} at {width} pixels: {problem}"
            for page in tqdm(pages, unit="page")
            for width in WIDTHS
            for problem in _check(browser, page, width, arguments.screenshots)
        ]
    finally:
        browser.quit()
    print(*problems, f"{len(pages)} pages, {len(problems)} problems", sep="\n")
    sys.exit(bool(problems))


def _check(browser, page, width, screenshots):
    """Return what is cut off on a page in a window of some width."""
    _resize(browser, width, HEIGHT)
    browser.get(page.as_uri())
    problems = browser.execute_script(SCRIPT)
    if screenshots is not None:
        screenshots.mkdir(parents=True, exist_ok=True)
        _resize(browser, width, browser.execute_script("return document.documentElement.scrollHeight"))
        browser.save_screenshot(screenshots / f"{page.parent.name}-{page.stem}-{width}.png")
    return problems


def _resize(browser, width, height):
    # Windows can't be as narrow as a telephone.
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


if __name__ == "__main__":
    main()
