"""The settings of reports: QUARTO_PATH, MAX_REPORT_SIZE_MB, SITE_LANGUAGE and REPORT_TEMPLATE."""

import shutil
from pathlib import Path
from typing import Annotated

from pydantic import DirectoryPath, Field

from assets.reports.texts import LanguageCode
from storage.settings import EnvironmentSettings


class ReportSettings(EnvironmentSettings):
    """The program that renders PDF files; the maximum size, the language and the look of reports."""

    quarto_path: Path | None = None
    max_report_size_mb: Annotated[float, Field(gt=0)] = 100
    site_language: LanguageCode = "en"
    report_template: DirectoryPath | None = None

    @property
    def quarto(self) -> Path | None:
        """The Quarto program, if there is one: QUARTO_PATH, else the one on PATH."""
        program = self.quarto_path or shutil.which("quarto")
        return Path(program) if program else None
