"""What to do first: a high risk of failure, readings that may be wrong, and sensors that stand still."""

from collections.abc import Iterator, Sequence

from assets.reports.advice_words import AdviceWords
from assets.reports.analysed import Anomaly
from assets.reports.doubtful import doubtful_readings
from assets.reports.sections import Advice, Confidence, Risk
from storage.times import moment

MAX_DRIVERS = 3
# How many of the failures of its test a prediction has to find, and how often at most it may raise false alarms.
SURE, LIKELY = (0.8, 0.1), (0.5, 0.3)
# Fewer failures in the test leave too much to chance to be sure.
MIN_TESTED = 5


def urgent(words: AdviceWords, risk: Risk | None, anomalies: Sequence[Anomaly]) -> list[Advice]:
    """The advice that comes before all other."""
    return [*_risk(words, risk), *_reading(words), *_sensor(words, anomalies)]


def _risk(words: AdviceWords, risk: Risk | None) -> Iterator[Advice]:
    if risk is None or not risk.is_high:
        return
    confidence, tested = _confidence(risk)
    language, life = words.language, risk.remaining_life
    drivers = [language.metric(driver.metric) for driver in risk.drivers[:MAX_DRIVERS]]
    said = [words.risk(risk)]
    if drivers:
        said.append(language.say("risk.rests_on", drivers=language.enumerated(drivers)))
    yield words.one(
        "risk",
        None,
        confidence,
        reason="tested" if tested else "not_tested",
        said={"risk": " ".join(said)},
        probability=risk.probability,
        horizon_hours=risk.horizon_hours,
        remaining_hours=life.hours if life else None,
        lower_hours=life.lower if life else None,
        upper_hours=life.upper if life else None,
        failures_found=risk.failures_found if tested else None,
        failures_tested=risk.failures_tested if tested else None,
        false_alarm_share=risk.false_alarm_share if tested else None,
    )


def _confidence(risk: Risk) -> tuple[Confidence, bool]:
    """How sure the risk is by its test, and whether there was one."""
    if not risk.failures_tested or risk.false_alarm_share is None:
        return "low", False
    found, false_alarms = (risk.failures_found or 0) / risk.failures_tested, risk.false_alarm_share
    if risk.failures_tested >= MIN_TESTED and found >= SURE[0] and false_alarms <= SURE[1]:
        return "high", True
    return ("medium" if found >= LIKELY[0] and false_alarms <= LIKELY[1] else "low"), True


def _reading(words: AdviceWords) -> Iterator[Advice]:
    found = doubtful_readings(words.measured.energy)
    if not found:
        return
    worst, energies = found[0], [abs(finding.effect or 0.0) for finding in found]
    yield words.one(
        "reading",
        sum(energies),
        "high",
        text="reading" if len(found) == 1 else "readings",
        reason="single_reading",
        at=moment(worst.at),
        value_w=worst.value,
        energy_kwh=sum(energies),
        readings=len(found),
    )


def _sensor(words: AdviceWords, anomalies: Sequence[Anomaly]) -> Iterator[Advice]:
    frozen = [anomaly for anomaly in anomalies if anomaly.kind == "frozen"]
    if not frozen:
        return
    longest = max(frozen, key=lambda anomaly: anomaly.end - anomaly.start)
    yield words.one(
        "sensor",
        None,
        "medium",
        reason="frozen",
        at=longest.start,
        # The last reading stands for one interval.
        frozen_seconds=(longest.end - longest.start).total_seconds() + (words.measured.cadences.usual or 0.0),
    )
