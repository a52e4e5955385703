"""The report as a reader sees it: on a screen, on a phone and on paper.

    python Testing/benchmarks/report_pages.py

Enhances the bundled head against its reference (method bridged, preset fast), opens the page in Chromium without a
window, and writes Resources/Screenshots/report-1280.png and report-390.png: the whole page at both widths. Stops if the
page is wider than the window at either width, or prints on more than two A4 pages. ``--page`` takes a report that
exists already, ``--out`` another folder.
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from LowFieldEnhanceLib import pipeline
from LowFieldEnhanceLib.image_io import read_image
from LowFieldEnhanceLib.outputs import write_report
from LowFieldEnhanceLib.resources import resource

FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "Screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTHS = {1280: 9500, 390: 13000}  # pixels, and more height than the page needs at that width
MOST_PAGES = 2
FRAME = """<!DOCTYPE html><body><iframe style="width: {width}px; height: 1000px; border: 0" srcdoc="{page}"></iframe>
<script>
const frame = document.querySelector("iframe");
const measure = () => {{ document.body.dataset.width = frame.contentDocument.documentElement.scrollWidth; }};
addEventListener("load", measure);
</script></body>"""


def browse(browser: str, page: Path, *arguments: str) -> bytes:
    """Open a page without a window; what the browser prints."""
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *arguments, page.as_uri()]
    return subprocess.run(command, check=True, capture_output=True, timeout=600).stdout


def width_of(browser: str, page: Path, width: int, folder: Path) -> int:
    """Pixels that the page takes where it has so many; in a frame, since a browser's own window is 500 at least."""
    framed = folder / "framed.html"
    text = html.escape(page.read_text(encoding="utf-8"))
    framed.write_text(FRAME.format(width=width, page=text), encoding="utf-8")
    found = re.search(rb'data-width="(\d+)"', browse(browser, framed, "--window-size=1400,1000", "--dump-dom"))
    assert found is not None, "the page was not measured"
    return int(found[1])


def pages_of(browser: str, page: Path, folder: Path) -> int:
    """A4 pages on paper."""
    printed = folder / "report.pdf"
    browse(browser, page, "--no-pdf-header-footer", f"--print-to-pdf={printed}")
    return len(re.findall(rb"/Type\s*/Page\b", printed.read_bytes()))


def screenshot(browser: str, page: Path, width: int, target: Path) -> None:
    """The whole page, without the empty rest of the window."""
    browse(browser, page, f"--window-size={width},{WIDTHS[width]}", f"--screenshot={target}")
    picture = Image.open(target).convert("RGB")
    used = np.flatnonzero((np.asarray(picture) < 255).any(axis=(1, 2)))
    if used[-1] + 1 == picture.height:
        raise SystemExit(f"the page is longer than {picture.height} pixels, so its picture would be cut")
    picture.crop((0, 0, width, min(int(used[-1]) + 24, picture.height))).save(target, optimize=True)


def make_report(target: Path) -> None:
    """The report of the bundled head against its reference."""
    result = pipeline.enhance(
        read_image(resource("SampleData", "colin27_64mT_T1w.nii.gz"), "T1w"),
        pipeline.Options(method="bridged", preset="fast"),
        reference=read_image(resource("SampleData", "colin27_reference_T1w.nii.gz"), "T1w"),
    )
    write_report(result, target)


def main() -> None:
    """Make the report, check its size and draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path, help="an existing report, HTML")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        parser.error(f"none of {', '.join(BROWSERS)} is installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page = options.page.resolve() if options.page else folder / "report.html"
        if not options.page:
            make_report(page)
        for width in WIDTHS:
            taken = width_of(browser, page, width, folder)
            if taken > width:
                raise SystemExit(f"the page takes {taken} pixels in a window of {width}")
            screenshot(browser, page, width, options.out / f"report-{width}.png")
            print(f"{width} pixels: fits", flush=True)
        count = pages_of(browser, page, folder)
        print(f"paper: {count} pages")
        if count > MOST_PAGES:
            raise SystemExit(f"the report prints on {count} pages; it must fit on {MOST_PAGES}")


if __name__ == "__main__":
    main()
