"""Makes the report's content from the measured input."""

from datetime import UTC
from importlib.metadata import version

from assets.reports import findings, look, measures
from assets.reports.advice import Adviser
from assets.reports.advice_words import AdviceWords
from assets.reports.comparison import comparisons
from assets.reports.content import Device, Energy, File, Generator, Kpi, Period, ReportContent
from assets.reports.energy_rows import energy_rows
from assets.reports.expected import forecast
from assets.reports.formatting import Language
from assets.reports.kpis import kpis
from assets.reports.load import load
from assets.reports.measures import Measured
from assets.reports.methods import energy_rule
from assets.reports.quality import quality
from assets.reports.registers import registers
from assets.reports.results import text


def compose(measured: Measured, language: Language | None = None) -> ReportContent:
    """The content of the report, in English unless another language is given. Equal input gives equal content."""
    language = language or look.language("en")
    data = measured.data
    energy = measured.energy
    data_quality = quality(data, measured.times, measured.cadences, energy)
    alerts = findings.alerts(data)
    total = len(alerts) if data.alerts_total is None else data.alerts_total
    anomalies, outside = findings.anomalies(data)
    risk = findings.risk(data)
    analyses = findings.analyses(data, language)
    has_analysis = any(a.type == "anomaly" and a.status == "completed" for a in analyses)
    trusted = measured.trusted
    states, metrics = list(measures.states(trusted)), list(measures.summaries(trusted))
    days = measures.days(measured, data_quality)
    return ReportContent(
        language=language.code,
        report_id=data.report_id,
        generated_at=data.generated_at.astimezone(UTC),
        generator=Generator(name="energy-platform", version=data.code_version or version("energy-platform")),
        device=Device(
            id=text(data.device_id),
            name=text(data.device_name) or text(data.device_id),
            type=text(data.device_type),
            location=text(data.location) if data.location else None,
            maker=text(data.maker) if data.maker else None,
            max_power_w=data.max_power_w,
        ),
        period=Period(start=data.start.astimezone(UTC), end=data.end.astimezone(UTC), tz=data.zone.key),
        kpis=[
            *kpis(measured, data_quality, language),
            Kpi(key="alerts", label=language.say("kpi.alerts"), value=total, unit="1"),
            Kpi(
                key="anomalies",
                label=language.say("kpi.anomalies"),
                value=len(anomalies) if has_analysis else None,
                unit="1",
                note=None if has_analysis else language.say("note.no_anomaly_analysis"),
            ),
        ],
        energy=Energy(
            source=energy.source,
            export_source=energy.export_source,
            coverage=energy.coverage,
            rule=energy_rule(energy, language, is_waiting=measured.is_waiting),
        ),
        states=states,
        energy_by=energy_rows(days),
        daily=days,
        comparisons=comparisons(measured, language),
        readings_left_out=sum(finding.kind == "single_reading" for finding in energy.findings)
        if trusted is not measured
        else 0,
        load=load(trusted),
        registers=list(registers(measured)),
        advice=Adviser(AdviceWords(measured, language), data_quality, states, metrics, risk, anomalies).advice(),
        risk=risk,
        metrics=metrics,
        series=list(measures.series(trusted)),
        analyses=analyses,
        anomalies=anomalies,
        anomalies_outside_period=outside,
        forecast=forecast(data),
        failures=findings.failures(data),
        alerts=alerts,
        alerts_total=total,
        alert_times=findings.alert_times(alerts),
        data_quality=data_quality,
        files=[File(name=text(d["key"]), sha256=d.get("sha256"), rows=d.get("rows")) for d in data.datasets],
    )
