"""How good the analyses are on the demo's series, and on a folder of data: `python -m benchmarks.analytics FOLDER`.

`energy evaluate` does the same for chosen cases and models.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from assets.evaluation import Evaluation, evaluate

DEMO = Path(__file__).parent.parent / "cli" / "demo" / "house-a.csv.gz"


def main(folder: Path | None = None) -> None:
    """Evaluate on the folder, or on the demo's series alone."""
    if folder:
        for found in evaluate(folder):
            _say(found)
        return
    with tempfile.TemporaryDirectory() as made:
        household = Path(made) / "anomaly" / "household_injected"
        household.mkdir(parents=True)
        shutil.copy(DEMO, household)
        for found in evaluate(Path(made)):
            _say(found)


def _say(found: Evaluation) -> None:
    figures = {name: value for name, value in found.figures.items() if name != "series"}
    shown = "  ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in figures.items()
    )
    print(f"  {found.case:26} {found.model:18} {found.seconds:6.1f} s  {found.error or shown}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
