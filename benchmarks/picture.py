"""The picture of a report in README: the top of a run's report.html, as a small PNG.

    python benchmarks/picture.py runs/demo     # writes docs/figures/report.png

Needs playwright and a Chromium (`--browser`).
"""

import argparse
from pathlib import Path

FIGURE = Path(__file__).parents[1] / "docs" / "figures" / "report.png"
MOST_BYTES = 150_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--out", type=Path, default=FIGURE)
    parser.add_argument("--width", type=int, default=860, help="of the page, in CSS pixels")
    parser.add_argument("--height", type=int, default=570, help="of the part that is shown")
    parser.add_argument("--browser", default="/usr/bin/chromium")
    options = parser.parse_args()

    from playwright.sync_api import sync_playwright

    size = {"width": options.width, "height": options.height}
    with sync_playwright() as browsers:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = browsers.chromium.launch(executable_path=options.browser, args=arguments)
        page = browser.new_page(viewport=size, device_scale_factor=1.5, color_scheme="light")
        page.goto((options.run / "report.html").absolute().as_uri())
        page.screenshot(path=options.out)
        browser.close()
    if (found := options.out.stat().st_size) > MOST_BYTES:
        raise SystemExit(
            f"{options.out} has {found:,} bytes, more than {MOST_BYTES:,}; show less with --height"
        )


if __name__ == "__main__":
    main()
