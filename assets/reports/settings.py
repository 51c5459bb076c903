"""The settings of reports: QUARTO_PATH and MAX_REPORT_SIZE_MB."""

import shutil
from pathlib import Path
from typing import Annotated

from pydantic import Field

from storage.settings import EnvironmentSettings


class ReportSettings(EnvironmentSettings):
    """The program that renders PDF files, and the maximum size of a report."""

    quarto_path: Path | None = None
    max_report_size_mb: Annotated[float, Field(gt=0)] = 100

    @property
    def quarto(self) -> Path | None:
        """The Quarto program, if there is one: QUARTO_PATH, else the one on PATH."""
        program = self.quarto_path or shutil.which("quarto")
        return Path(program) if program else None
