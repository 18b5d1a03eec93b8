"""Command line. Every verb returns 0 only on success; a fault of the user's is told in words, not a traceback."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import cyclopts
import uvloop
from cyclopts import Parameter
from rich.console import Console

from devices.errors import DeviceError
from guidance import __version__
from guidance.errors import GuidanceError, SettingsError
from guidance.show_summary import show_faults, show_summary

app = cyclopts.App(
    name="guidance",
    help="The real-time brain of an image-guided intervention room. Research software, not a medical device.",
    version=__version__,
)
out = Console(soft_wrap=True)
err = Console(stderr=True, soft_wrap=True)
DEFAULT_PROCEDURE = "hifu_liver"


@app.command
def demo(
    procedure: str = DEFAULT_PROCEDURE,
    *,
    duration: float | None = None,
    summary: Path | None = None,
    browser: bool = True,
    seed: int = 1,
    supervisor: bool = True,
) -> int:
    """Simulated room, embedded broker, service and console in one command.

    Parameters
    ----------
    procedure: a name in config/procedures.
    duration: seconds, counted from the moment all streams are live; without it, until Ctrl-C.
    summary: write the session's summary to this JSON file.
    browser: open the console in a browser where there is one.
    seed: of the simulated room.
    supervisor: run the service as the child of a supervisor, which stops devices when the service hangs or dies.
    """
    if supervisor:
        return _supervise("demo", procedure, duration=duration, summary=summary, browser=browser, seed=seed)
    from guidance.demo import run_demo

    result = uvloop.run(run_demo(procedure, duration, seed, browser))
    return _tell(result, summary)


@app.command
def run(
    config: str,
    *,
    duration: float | None = None,
    summary: Path | None = None,
    record: Path | None = None,
    link: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    supervisor: bool = True,
) -> int:
    """The service: one room from its configuration, until Ctrl-C or for `duration` seconds.

    Parameters
    ----------
    config: a .toml file, or a name in config/procedures.
    duration: seconds to run.
    summary: write the session's summary to this JSON file.
    record: write the recording to this file instead of a generated name.
    link: `id=host:port`, another address for a link of the configuration.
    supervisor: run as the child of a supervisor, which stops devices when the service hangs or dies.
    """
    if supervisor:
        return _supervise("run", config, duration=duration, summary=summary, record=record, link=link)
    from guidance.console import serve_console
    from guidance.service.serve import serve

    result = uvloop.run(serve(config, duration, record, _pairs(link), serve_console))
    return _tell(result, summary)


@app.command
def sim(scenario: str, *, seed: int | None = None, duration: float | None = None) -> int:
    """The simulated or recorded devices of a scenario alone, on loopback, until Ctrl-C."""
    words = [sys.executable, "-m", "sim", scenario]
    words += ["--seed", str(seed)] if seed is not None else []
    words += ["--duration", str(duration)] if duration is not None else []
    try:
        return subprocess.run(words, check=False).returncode
    except KeyboardInterrupt:
        return 0


@app.command
def replay(recording: Path, *, check: bool = False) -> int:
    """A recording through the same core under a virtual clock; --check compares every output byte for byte."""
    from guidance.replay import check as check_recording

    report = check_recording(recording)
    out.print(
        f"{recording.name}: {report.steps} steps, {report.outputs} outputs, {report.arrivals} arrivals, "
        f"{report.compute_exact} of {report.computed} computed results exact, {report.cut_bytes} bytes cut off"
    )
    for fault in report.faults:
        err.print(f"[bold]differs[/bold] {fault}", highlight=False)
    if report.fault_count > len(report.faults):
        err.print(f"and {report.fault_count - len(report.faults)} more")
    out.print("replays identically" if report.ok else f"{report.fault_count} disagreements")
    return 1 if check and not report.ok else 0


@app.command
def trial(
    procedure: str,
    *,
    seeds: int = 1,
    first: int = 1,
    duration: float = 60.0,
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    record: Path | None = None,
) -> int:
    """The procedure in virtual time over a number of seeds, scored against the simulator's truth."""
    from guidance.trial import run_trials

    rows = run_trials(procedure, range(first, first + seeds), duration, record, out)
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row["ok"] for row in rows) else 1


@app.command
def check(config: str) -> int:
    """Every fault of a configuration or plan at once, with its path."""
    from guidance.service.checks import check_file

    faults = check_file(config)
    show_faults(out if not faults else err, config, faults)
    return 1 if faults else 0


@app.command
def bench(
    name: str = "link", *, quick: bool = False, json_file: Annotated[Path | None, Parameter(name="--json")] = None
) -> int:
    """The performance tables, side by side with the peers installed."""
    from guidance.bench import run_bench

    rows = run_bench(name, quick, out)
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row["ok"] for row in rows) else 1


@app.command
def faults(
    campaign: str = "A",
    *,
    seeds: int = 300,
    seed: int | None = None,
    first: int = 0,
    without: str = "",
    json_file: Annotated[Path | None, Parameter(name="--json")] = None,
    hours: float = 0.0,
    room: str = "campaign",
) -> int:
    """The seeded fault campaign: A virtual time, B sockets, C processes and disks; a table of hazards at the end.

    S is no campaign of faults but measures how long STOP takes in a room in trouble.

    Parameters
    ----------
    campaign: A, B, C or S.
    seeds: how many cases.
    first: the seed of the first of them.
    seed: this one case only.
    without: switch one rule off; the campaign then reports what that rule would have seen.
    json_file: write the rows {id, injected, missed, false_stops, worst_ms, bound_ms} to this JSON file.
    hours: instead of faults, so many simulated hours of nominal treatment; nothing may stop.
    room: the procedure of the nominal hours.
    """
    from guidance.faults.nominal import run_nominal
    from guidance.faults.run import run_campaign, seeds_of
    from guidance.faults.stop_run import run_stops

    if hours > 0:
        result = run_nominal(room, hours, seed or 1)
        out.print_json(json.dumps(result))
    elif campaign.upper() == "S":
        result = run_stops(seeds_of(seeds, seed, first), without, out)
    else:
        result = run_campaign(campaign.upper(), seeds_of(seeds, seed, first), without, out)
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if result["ok"] else 1


@app.command
def report(recording: Path, *, out_dir: Annotated[Path | None, Parameter(name="--out")] = None) -> int:
    """What happened in a recorded session: HTML and JSON."""
    from guidance.report import write_report

    page = write_report(recording, out_dir or recording.with_suffix(""))
    out.print(f"report: {page}")
    return 0


def _supervise(verb: str, name: str, **options: object) -> int:
    """The same words again, in a child that the supervisor watches."""
    from guidance.service.supervisor import supervise

    words = [verb, name, "--no-supervisor"]
    for key, value in options.items():
        if isinstance(value, bool):
            words.append(f"--{key}" if value else f"--no-{key}")
        elif isinstance(value, tuple):
            words += [word for row in value for word in (f"--{key}", str(row))]
        elif value is not None:
            words += [f"--{key}", str(value)]
    return supervise(words)


def _pairs(rows: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(row.partition("=")[::2] for row in rows)
    wrong = [row for row in rows if "=" not in row]
    if wrong:
        raise SettingsError("--link", [f"{row!r} is not id=host:port" for row in wrong])
    return pairs


def _tell(result: dict[str, Any], summary: Path | None) -> int:
    from guidance.service.summary import write_summary

    show_summary(out, result)
    if summary is not None:
        write_summary(summary, result)
    return 0


def main(words: list[str] | None = None) -> None:
    """Entry point of the `guidance` command."""
    try:
        code = app(words, exit_on_error=True, result_action="return_value")
    except SettingsError as fault:
        show_faults(err, fault.where, fault.faults)
        code = 2
    except (GuidanceError, DeviceError) as fault:
        err.print(f"[bold]{type(fault).__name__}[/bold] {fault}", highlight=False)
        code = 2
    except KeyboardInterrupt:
        code = 130
    sys.exit(code if isinstance(code, int) else 0)
