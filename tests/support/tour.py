"""`python -m tests.support.tour FOLDER`: pictures of what people see, taken from the demo on a platform of its own.

It needs Chromium and pdftoppm (Debian's `chromium` and `poppler-utils`). Look at the pictures: nothing judges them.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx

from tests.cli.conftest import LocalPlatform, end

CHROMIUM = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
# Dagster draws its pages after they have loaded.
DRAWN_AFTER_MS = 15_000
PAGES = {
    "home": "/",
    "machines": "/machines",
    "telemetry": "/machines/FEEDER-2/telemetry?span=7d",
    "energy": "/machines/FEEDER-2/energy?days=7",
    "analyses": "/machines/FEEDER-2/analyses",
}
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
        for name, page in PAGES.items():
            photograph(f"{platform.api}{page}", folder / f"page-{name}.png")
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
