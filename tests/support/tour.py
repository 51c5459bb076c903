"""`python -m tests.support.tour FOLDER`: pictures of what people see, taken from the demo on a platform of its own.

It needs Chromium and pdftoppm (Debian's `chromium` and `poppler-utils`). Look at the pictures: nothing judges them.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import httpx
from playwright.sync_api import sync_playwright

from tests.cli.conftest import LocalPlatform, end

CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
# Dagster draws its pages after they have loaded.
DRAWN_AFTER_MS = 15_000
PAGES = {
    "home": "/",
    "machines": "/machines",
    "machines-table": "/machines?view=table",
    "machine": "/machines/FEEDER-2",
    "telemetry": "/machines/FEEDER-2/telemetry?span=7d",
    "energy": "/machines/FEEDER-2/energy?days=7",
    "machine-analyses": "/machines/FEEDER-2/analyses",
    "machine-data": "/machines/FEEDER-2/data",
    "alerts": "/alerts?status=all",
    "rules": "/rules",
    "rule": "/rules/new?device_id=FEEDER-2",
    "analytics": "/analytics",
    "reports": "/reports",
    "data": "/data",
    "settings": "/settings",
}
# The newest thing of each list has a page of its own.
NEWEST = {
    "alert": ("/api/v1/alerts", "data", "alert_id", "/alerts"),
    "anomaly": ("/api/v1/analytics/jobs?analysis_type=anomaly", "jobs", "job_id", "/analytics"),
    "forecast": ("/api/v1/analytics/jobs?analysis_type=forecast", "jobs", "job_id", "/analytics"),
    "report": ("/api/reports/jobs", "data", "job_id", "/reports"),
}
# Width, height and theme.
LOOKS: dict[str, tuple[int, int, Literal["light", "dark"]]] = {
    "desktop": (1400, 900, "light"),
    "phone": (390, 844, "light"),
    "dark": (1400, 900, "dark"),
}
WALL = (2560, 1440)
DAGSTER_PAGES = {
    "dagster-assets": "/asset-groups",
    "dagster-dataset": "/assets/telemetry_dataset",
    "dagster-checks": "/assets/telemetry_dataset?view=checks",
    "dagster-forecast": "/assets/forecast",
    "dagster-automation": "/automation",
    "dagster-runs": "/runs",
}


def photograph(url: str, picture: Path, width: int = 1400, height: int = 900) -> None:
    """Take a picture of a page once it is drawn."""
    subprocess.run(
        ["chromium", *CHROMIUM, "--hide-scrollbars", f"--virtual-time-budget={DRAWN_AFTER_MS}",
         f"--window-size={width},{height}", f"--screenshot={picture}", url],
        check=True, timeout=120, capture_output=True,
    )  # fmt: skip
    print(picture)


def photograph_pages(address: str, folder: Path) -> None:
    """Take pictures of our pages, whole, on a desk, on a phone and in the dark, and of the first one on a wall."""
    pages = dict(PAGES)
    for name, (listing, key, id_, page) in NEWEST.items():
        found = httpx.get(address + listing).raise_for_status().json()[key]
        pages |= {name: f"{page}/{found[0][id_]}"} if found else {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])

        def take(path: str, picture: Path, width: int, height: int, theme: Literal["light", "dark"] = "light") -> None:
            with browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme) as context:
                shown = context.new_page()
                shown.goto(address + path, wait_until="networkidle")
                shown.screenshot(path=picture, full_page=True, caret="initial")
            print(picture)

        for name, path in pages.items():
            for look, (width, height, theme) in LOOKS.items():
                take(path, folder / f"page-{name}-{look}.png", width, height, theme)
        take("/?wall=1", folder / "page-home-wall.png", *WALL)
        browser.close()


def print_pages(pdf: Path) -> None:
    """Turn each page of a PDF into a picture beside it."""
    subprocess.run(["pdftoppm", "-r", "75", "-png", pdf, pdf.with_suffix("")], check=True, timeout=120)
    for page in sorted(pdf.parent.glob(f"{pdf.stem}-*.png")):
        print(page)


def main(folder: Path) -> None:
    if missing := [name for name in ("chromium", "pdftoppm") if shutil.which(name) is None]:
        sys.exit(f"tour: {' and '.join(missing)} not found on PATH; install Debian's chromium and poppler-utils")
    folder.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="energy-tour-"))
    home.chmod(0o755)  # the database's own user works in it
    platform = LocalPlatform(home)
    process = platform.up()
    try:
        demo = platform.run("demo", "--once")
        summary = json.loads(demo.stdout)
        photograph(f"{platform.api}/docs", folder / "api.png")
        photograph_pages(platform.api, folder)
        for name, page in DAGSTER_PAGES.items():
            photograph(f"http://127.0.0.1:{platform.ports['DAGSTER_PORT']}{page}", folder / f"{name}.png")
        download = next(report["download"] for report in summary["reports"] if report["format"] == "pdf")
        link = httpx.get(download).raise_for_status().json()["download_url"]
        report = folder / "report.pdf"
        report.write_bytes(httpx.get(link).raise_for_status().content)
        print_pages(report)
    finally:
        end(process)
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".tour"))
