"""A judge, its stops and a treatment in hand; and what each row does, told as one line."""

from typing import Any

from devices.messages import Acknowledgement, Command
from guidance.load import config_file
from guidance.safety.facts import Fact, Facts
from guidance.safety.judge import Judge
from guidance.safety.limits import Limit, load_limits
from guidance.safety.phases import Phase
from guidance.safety.rules import RULES, Compare, Rule
from guidance.safety.stops import Stoppable, Stops
from guidance.safety.treatment import Treatment
from guidance.settings import Robot, Therapy
from guidance.units import ms

TICK_NS = ms(20)
LIMITS: dict[str, Limit] = load_limits(config_file("safety", "limits"))
POWER_W = 50.0


class World:
    """Time passes in ticks of 20 ms; devices confirm a STOP at once while `obeys`."""

    def __init__(self, rules: tuple[Rule, ...] = RULES, limits: dict[str, Limit] = LIMITS) -> None:
        self.now_ns = 1_000_000_000_000
        self.facts = Facts()
        self.judge = Judge(self.facts, limits, rules)
        self.stops = Stops([Stoppable("therapy", "Therapy", "off", ("bus",)), Stoppable("robot", "Robot", "holds")])
        therapy = Therapy(link="therapy", power_w=POWER_W)
        self.treatment = Treatment(self.judge, self.stops, therapy, Robot(link="robot"))
        self.obeys = True
        self.sent: list[tuple[int, str, Command]] = []
        self.permit = 0.0

    @property
    def phase(self) -> Phase:
        return self.treatment.phase

    def act(self, verb: str, values: Any = None, console: str = "desk") -> Any:
        given = self.treatment.shown() if verb == "START" and values is None else values
        verdict = self.treatment.act(verb, self.now_ns, console, given)
        changed = self.judge.judge(self.now_ns, self.phase)
        self.treatment.react(self.now_ns, changed)
        self.speak()
        return verdict

    def treat(self) -> None:
        for verb in ("RESET", "ARM", "START"):
            verdict = self.act(verb)
            assert verdict.done, verdict.reasons

    def set(self, fact: str, value: float, subject: str = "it", proven: bool = True) -> None:
        self.facts.set(fact, subject, Fact(value, self.now_ns, proven))

    def tick(self) -> None:
        self.now_ns += TICK_NS
        changed = self.judge.judge(self.now_ns, self.phase)
        self.treatment.react(self.now_ns, changed)
        self.speak()

    def speak(self) -> None:
        """Send what is due, stops first; the devices answer at once."""
        for link, command in [*self.stops.due(self.now_ns), *self.treatment.commands_due(self.now_ns)]:
            self.sent.append((self.now_ns, link, command))
            if command.verb == "PERMIT":
                self.permit = command.values["permit"]
            if command.verb == "STOP" and self.obeys:
                self.confirm(link, command)

    def confirm(self, link: str, command: Command) -> None:
        answer = Acknowledgement(name=command.name, command_id=command.command_id, verb="STOP", done=True)
        self.stops.confirm(link, answer, self.now_ns)

    def verbs(self, device: str) -> list[str]:
        return [command.verb for _, _, command in self.sent if command.name == device and command.verb != "PERMIT"]


def hold(
    world: World, fact: str, value: float, alarm: tuple[str, str], until: str, seconds: float, step_ms: int = 20
) -> str:
    """Keep a fact at `value` until the alarm is in the state `until`; how long that took in ms, or "never"."""
    began = world.now_ns
    while world.now_ns - began <= ms(seconds * 1000):
        world.now_ns += ms(step_ms) - TICK_NS
        world.set(fact, value)
        world.tick()
        found = world.judge.alarms.get(alarm)
        if found is not None and found.state == until:
            return f"{(world.now_ns - began) // ms(1)} ms"
    return "never"


def told(world: World, alarm: tuple[str, str]) -> str:
    """Phase, state and priority of an alarm, and whether energy may be armed."""
    found = world.judge.alarms.get(alarm)
    state = f"{found.state} {found.priority}" if found is not None and found.shown else "-"
    free = "may" if not world.treatment.blocked(world.now_ns) else "blocked"
    return f"{world.phase} {state} {free}"


def only(fact: str, rules: tuple[Rule, ...], limits: dict[str, Limit]) -> tuple[tuple[Rule, ...], dict[str, Limit]]:
    """The rows of one fact and their limits."""
    rows = tuple(row for row in rules if row.fact == fact)
    return rows, {name: limits[name] for row in rows for name in (row.limit, row.step) if name}


def behaviour(rule: str, fact: str, compare: str, limit: float, rules: tuple[Rule, ...], limits: Any = LIMITS) -> str:
    """What one row does, as a line: while treating (outside, back inside, unknown) and while idle."""
    rules, limits = only(fact, rules, limits)
    alarm, sign = (rule, "it"), 1.0 if compare == Compare.ABOVE else -1.0
    patience_s = max((row.quiet_ms for row in rules), default=0.0) / 1e3
    step = max(abs(limit) * 0.01, 1e-3)
    outside, inside = limit + sign * step, limit - sign * step
    parts = []
    world = World(rules, limits)
    world.treat()
    quiet = hold(world, fact, inside, alarm, "active", seconds=1.0)
    raised = hold(world, fact, outside, alarm, "active", seconds=2.0)
    phase = world.phase
    late = hold(world, fact, outside, alarm, "active", seconds=12.0, step_ms=400) if raised == "never" else "-"
    parts.append(f"treating: inside {quiet}, outside {raised} {phase}, told late {late} {told(world, alarm)}")
    near = hold(world, fact, inside, alarm, "cleared", seconds=6.0, step_ms=100)
    far = hold(world, fact, limit - sign * max(abs(limit) * 0.5, 0.4), alarm, "cleared", seconds=1.0)
    parts.append(f"back: near {near}, far {far} {told(world, alarm)}")
    world = World(rules, limits)
    world.treat()
    world.facts.set(fact, "it", Fact(outside, world.now_ns, proven=False))
    for _ in range(6):
        world.now_ns += ms(400)
        world.tick()
    parts.append(f"unknown: {told(world, alarm)}")
    world = World(rules, limits)
    world.treat()
    world.set(fact, inside)
    world.now_ns += ms(32_000)
    world.tick()
    parts.append(f"old: {told(world, alarm)}")
    world = World(rules, limits)
    world.act("RESET")
    quiet = hold(world, fact, inside, alarm, "active", seconds=1.2)
    raised = hold(world, fact, outside, alarm, "active", seconds=1.5)
    if raised == "never":
        at_once = told(world, alarm)
        step_ms = 400 if patience_s < 12.0 else 100
        raised = hold(world, fact, outside, alarm, "active", seconds=max(12.0, patience_s + 1.0), step_ms=step_ms)
        raised = raised if raised == "never" else f"{at_once}, told late {raised}"
    parts.append(f"idle: inside {quiet}, outside {raised} {told(world, alarm)}")
    hold(world, fact, limit - sign * max(abs(limit) * 0.5, 0.4), alarm, "cleared", seconds=6.0, step_ms=100)
    parts.append(f"back: {told(world, alarm)}")
    world = World(rules, limits)
    world.act("RESET")
    world.facts.set(fact, "it", Fact(outside, world.now_ns, proven=False))
    for _ in range(6 if patience_s < 12.0 else round(patience_s / 0.4) + 6):
        world.now_ns += ms(400)
        world.tick()
    parts.append(f"unknown: {told(world, alarm)}")
    return " | ".join(parts)
