"""What happened to a register between its levels, judged with what comes after: outliers, falls and jumps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from assets.energy.findings import Finding, FindingKind
from assets.energy.meter_rules import Rules
from assets.energy.registers import BEYOND, OUTLIER_READINGS, OUTLIER_TIME, RELATIVE_NOISE, Level, Pace
from storage.times import HOUR

Point = tuple[int, float]
# A register that falls to less than this share of what it showed has restarted, not been corrected.
ABOUT_ZERO = 0.05
# Returning from an excursion, a register may have risen by this share of it.
RETURNED = 0.1


@dataclass(frozen=True)
class Run:
    """Levels that follow each other steadily, over midnights; `pace` is the fastest of their days."""

    levels: tuple[Level, ...]
    pace: Pace

    @property
    def first(self) -> Point:
        return self.levels[0].first

    @property
    def last(self) -> Point:
        return self.levels[-1].last

    @property
    def readings(self) -> int:
        return sum(level.readings for level in self.levels)


@dataclass(frozen=True)
class Step:
    """What was counted from one reading to the next one that counts; a `rise` lies between the register's values."""

    before: Point
    after: Point
    counted: float | None
    rise: bool = False
    is_restart: bool = False


@dataclass(frozen=True)
class Verdict:
    """The levels that count, the steps between them, and what was noticed."""

    levels: tuple[Level, ...]
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]


# The pace of the days before the one of a moment (µs).
Past = Callable[[int], Pace | None]


def assess(days: Sequence[tuple[Pace, Sequence[Level]]], rules: Rules, past: Past = lambda _: None) -> Verdict:
    """The verdict on the levels of ascending days, each with its pace; `past` is asked about rises that look fast."""
    runs = _runs(days, rules)
    levels: list[Level] = []
    steps: list[Step] = []
    findings: list[Finding] = []
    at = 0
    while at < len(runs):
        run = runs[at]
        levels += run.levels
        steps += [
            Step(a.last, b.first, b.first[1] - a.last[1], rise=True)
            for a, b in zip(run.levels, run.levels[1:], strict=False)
        ]
        following = _following(runs, at, rules)
        if following is None:
            findings += _pending(runs[at + 1 :], rules)
            break
        if following < len(runs):
            findings += [_outlier(r, run, rules) for r in runs[at + 1 : following]]
            step, noticed = _step(run, runs[following], rules, past)
            is_confirmed = rules.accepts(run.first[0])
            if at == 0 and following == 1 and step.counted is None and _is_brief(run) and not is_confirmed:
                # Nothing came before, and what follows has nothing to do with it.
                levels, noticed = [], [_outlier(run, runs[1], rules, "before")]
            else:
                steps.append(step)
            findings += noticed
        at = following
    return Verdict(tuple(levels), tuple(steps), tuple(findings))


def _runs(days: Sequence[tuple[Pace, Sequence[Level]]], rules: Rules) -> list[Run]:
    """Levels of neighbouring days become one run where the step between them is steady."""
    runs: list[Run] = []
    for pace, levels in days:
        for number, level in enumerate(levels):
            if number == 0 and runs:
                both = pace.with_past(runs[-1].pace)
                if _rises(runs[-1].last, level.first, both, rules) and not _changed(runs[-1].last, level.first, rules):
                    runs[-1] = Run((*runs[-1].levels, level), both)
                    continue
            runs.append(Run((level,), pace))
    return runs


def _following(runs: Sequence[Run], at: int, rules: Rules) -> int | None:
    """The next run that counts; None while what comes after does not tell, len(runs) after the last.

    A run that somebody has confirmed counts where it would be passed over, and changes nothing where it would not.
    """
    found = _unconfirmed(runs, at, rules)
    passed = range(at + 1, len(runs) if found is None else found)
    return next((number for number in passed if rules.accepts(runs[number].first[0])), found)


def _unconfirmed(runs: Sequence[Run], at: int, rules: Rules) -> int | None:
    if at + 1 >= len(runs) or _changed(runs[at].last, runs[at + 1].first, rules):
        return at + 1
    continued = _continued(runs, at, rules)
    if continued is not None:
        return continued
    begin, later = runs[at + 1].first[0], runs[at + 1 :]
    readings = sum(run.readings for run in later)
    is_settled = readings > OUTLIER_READINGS and later[-1].last[0] - begin > OUTLIER_TIME
    return at + 1 if is_settled or _rolled(runs[at], later[0], rules) else None


def _continued(runs: Sequence[Run], at: int, rules: Rules) -> int | None:
    """The run that goes on where the one `at` ended, within the reach of an outlier; None if no run does."""
    run, begin, between = runs[at], runs[at + 1].first[0], 0
    direct: int | None = None
    for number in range(at + 1, len(runs)):
        later = runs[number]
        is_near = between <= OUTLIER_READINGS or later.first[0] - begin <= OUTLIER_TIME
        if not is_near or _changed(run.last, later.first, rules):
            break
        if _continues(run, later, runs[at + 1 : number], rules):
            if number == at + 1 and later.pace.with_past(run.pace).allowed(0.0) is None:
                direct = number  # nothing says how fast the device is: unless it returns, this is a rise
            elif direct is None or later.first[1] - run.last[1] <= RETURNED * (runs[direct].first[1] - run.last[1]):
                return number
        between += later.readings
    return direct


def _continues(run: Run, later: Run, between: Sequence[Run], rules: Rules) -> bool:
    pace = later.pace.with_past(run.pace)
    if not between:
        # A rise that nothing says is too fast for the device: the first one of a day that only ticked once.
        return _rises(run.last, later.first, pace, rules)
    rise = later.first[1] - run.last[1]
    excursion = max(abs(r.first[1] - run.last[1]) for r in between)
    if pace.allowed(0.0) is None:
        near = (abs(rise) if rules.net else rise) <= RETURNED * excursion
        return near and (rules.net or rise >= -_noise(run))
    return _rises(run.last, later.first, pace, rules)


def _rises(before: Point, after: Point, pace: Pace, rules: Rules) -> bool:
    rise, allowed = after[1] - before[1], pace.allowed((after[0] - before[0]) / HOUR)
    if rules.net:
        return allowed is None or abs(rise) <= allowed
    return rise >= -RELATIVE_NOISE * abs(before[1]) and (allowed is None or rise <= allowed)


def _changed(before: Point, after: Point, rules: Rules) -> bool:
    return any(before[0] < change.at <= after[0] for change in rules.changes)


def _rolled(run: Run, later: Run, rules: Rules) -> bool:
    if rules.rollover is None or later.first[1] >= run.last[1]:
        return False
    rise = later.first[1] + rules.rollover - run.last[1]
    allowed = later.pace.with_past(run.pace).allowed((later.first[0] - run.last[0]) / HOUR)
    if allowed is None:
        return run.last[1] - later.first[1] > rules.rollover / 2
    return 0 <= rise <= allowed


def _step(run: Run, later: Run, rules: Rules, past: Past) -> tuple[Step, list[Finding]]:
    before, after = run.last, later.first
    if _changed(before, after, rules):
        return _declared(before, after, rules)
    pace = later.pace.with_past(run.pace)
    rise = after[1] - before[1]
    if _rises(before, after, pace, rules) or (
        rise > 0 and pace.most is None and _rises(before, after, pace.with_past(past(after[0])), rules)
    ):
        return Step(before, after, rise, rise=True), []
    if rise > 0 or rules.net:
        if rules.accepts(after[0]):
            return Step(before, after, rise, rise=True), []
        limit = pace.most or BEYOND * (pace.usual or 0.0)
        why = f"more than the device can use ({limit:g} {rules.unit} an hour)"
        detail = f"rose by {rise:g} {rules.unit}, {why}; not counted"
        return Step(before, after, None), [_finding(rules, "jump", (before, after), rise, detail)]
    return _fall(run, later, rules, pace)


def _fall(run: Run, later: Run, rules: Rules, pace: Pace) -> tuple[Step, list[Finding]]:
    before, after = run.last, later.first
    hours, unit = (after[0] - before[0]) / HOUR, rules.unit
    fell = f"fell from {before[1]:.10g} to {after[1]:.10g} {unit}"
    if rules.rollover is not None and _rolled(run, later, rules):
        amount = after[1] + rules.rollover - before[1]
        detail = f"rolled over at {rules.rollover:.10g} {unit}; {amount:g} {unit} are counted"
        return Step(before, after, amount), [_finding(rules, "rollover", (before, after), amount, detail, counted=True)]
    amount = after[1]
    allowed = pace.allowed(hours)
    is_zero = 0 <= amount <= ABOUT_ZERO * before[1]
    is_usable = amount >= 0 and (amount <= allowed if allowed is not None else is_zero)
    if is_usable and is_zero:
        return _restarted(rules, before, after, fell)
    if pace.usual is not None and before[1] - after[1] <= max(pace.usual, 2 * pace.resolution):
        rise = after[1] - before[1]
        detail = f"{fell}, as a meter does when it corrects itself; the fall is subtracted"
        noticed = _finding(rules, "correction", (before, after), rise, detail, counted=True)
        return Step(before, after, rise, rise=True), [noticed]
    if is_usable:
        return _restarted(rules, before, after, fell)
    detail = f"{fell} and stayed there, as after an undeclared change of the meter; the fall is not counted"
    return Step(before, after, None), [_finding(rules, "meter_change", (before, after), after[1] - before[1], detail)]


def _restarted(rules: Rules, before: Point, after: Point, fell: str) -> tuple[Step, list[Finding]]:
    detail = f"{fell}: it restarted at zero, and what it has counted since is counted"
    noticed = _finding(rules, "reset", (before, after), after[1], detail, counted=True)
    return Step(before, after, after[1], is_restart=True), [noticed]


def _declared(before: Point, after: Point, rules: Rules) -> tuple[Step, list[Finding]]:
    """What the old meter and the new one counted around a declared change; unknown where neither value is given."""
    change = next(c for c in rules.changes if before[0] < c.at <= after[0])
    of_old = None if change.last_old is None else change.last_old - before[1]
    of_new = None if change.first_new is None else after[1] - change.first_new
    if of_old is None and of_new is None:
        amount, result = None, "what it counted in between is unknown"
    else:
        amount = (of_old or 0.0) + (of_new or 0.0)
        result = f"{amount:g} {rules.unit} are counted"
        if of_new is None:
            result += ", without what the new meter counted before its first reading; give first_new"
        if of_old is None:
            result += ", without what the old meter counted after its last reading; give last_old"
    detail = f"the meter was changed, as declared; {result}"
    finding = _finding(rules, "meter_change", (before, after), amount, detail, counted=amount is not None)
    return Step(before, after, amount), [finding]


def _is_brief(run: Run) -> bool:
    return run.readings <= OUTLIER_READINGS and run.last[0] - run.first[0] <= OUTLIER_TIME


def _outlier(run: Run, other: Run, rules: Rules, order: Literal["after", "before"] = "after") -> Finding:
    value, unit = run.first[1], rules.unit
    known = other.last[1] if order == "after" else other.first[1]
    readings = "one reading" if run.readings == 1 else f"{run.readings} readings"
    detail = f"{readings} of {value:.10g} {unit} {order} {known:.10g}: an outlier, not counted"
    return Finding(
        rules.metric, "outlier", run.first[0], run.last[0], value, value - known, counted=False, detail=detail
    )


def _pending(runs: Sequence[Run], rules: Rules) -> list[Finding]:
    first, last = runs[0].first, runs[-1].last
    detail = (
        f"changed to {first[1]:.10g} {rules.unit}; the readings of the next hour will tell what that was, and until"
        " then nothing is counted"
    )
    return [Finding(rules.metric, "pending", first[0], last[0], first[1], None, counted=False, detail=detail)]


def _finding(
    rules: Rules,
    kind: FindingKind,
    step: tuple[Point, Point],
    effect: float | None,
    detail: str,
    *,
    counted: bool = False,
) -> Finding:
    (since, _), (at, value) = step
    return Finding(rules.metric, kind, at, at, value, effect, counted=counted, detail=detail, since=since)


def _noise(run: Run) -> float:
    return RELATIVE_NOISE * abs(run.last[1])
