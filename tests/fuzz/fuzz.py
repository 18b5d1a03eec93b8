"""`python tests/fuzz/fuzz.py TARGET [--runs N] [--seconds S]`: wire decoders coverage-guided by atheris.

Loaders (settings, plan), and all of it without atheris, by mutation of the corpus: most of a loader's work is done by
compiled code, where a guide sees nothing and drops every seed.

A crash is kept in tests/fuzz/corpus/TARGET/ and is from then on part of the suite. So is what `--merge FOLDER`
chooses: of the inputs that a guided run left in its `--found FOLDER`, few that reach everything it reached.
"""

import argparse
import hashlib
import importlib.util
import random
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
LARGEST = 16 * 1024
PROCESS_MB = 2048
HANG_S = 2.0
LOADERS = frozenset({"settings", "plan"})


def mutated(seeds: list[bytes], chance: random.Random) -> bytes:
    """A seed with some bytes changed, cut, doubled or joined with another's."""
    data = bytearray(chance.choice(seeds) if seeds else b"\0")
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif kind == 1 and data:
            data[at % len(data)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del data[at : at + chance.randint(1, 32)]
        elif kind == 3:
            data[at:at] = chance.randbytes(chance.randint(1, 16))
        elif kind == 4:
            data[at:at] = data[at : at + chance.randint(1, 64)]
        elif seeds:
            other = chance.choice(seeds)
            data[at:] = other[chance.randrange(len(other) + 1) :]
    return bytes(data[:LARGEST])


def plain(name: str, runs: int, seconds: float, seed: int = 1) -> int:
    """Without coverage: mutation of the corpus until `runs` or `seconds` are over; the number of inputs."""
    from targets import TARGETS, seeds

    target, corpus, chance = TARGETS[name], seeds(name), random.Random(seed)
    done, until = 0, time.monotonic() + seconds if seconds else float("inf")
    while (not runs or done < runs) and time.monotonic() < until:
        data = mutated(corpus, chance)
        try:
            in_time(target, data)
        except BaseException:
            keep(name, data)
            raise
        done += 1
    return done


def keep(name: str, data: bytes) -> Path:
    """Write an input that fell over to the corpus."""
    folder = Path(__file__).parent / "corpus" / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"crash-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    print(f"kept {path}", file=sys.stderr)
    return path


def in_time(target: Callable[[bytes], None], data: bytes) -> None:
    """One input; RuntimeError when it takes long on the processor, however busy the machine is."""
    began = time.process_time()
    target(data)
    took = time.process_time() - began
    if took > HANG_S:
        raise RuntimeError(f"{len(data)} bytes took {took:.1f} s")


def guided(name: str, runs: int, seconds: float, found: Path | None, merge: Path | None) -> None:
    """With atheris (libFuzzer): never returns; exit code 0 when nothing fell over.

    Inputs that reach new code go to `found`; those of `merge` are added to the corpus as far as they are needed.
    """
    import atheris

    with atheris.instrument_imports(include=["devices"]):
        from targets import seeds
    start = found or Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    start.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(name)):
        (start / f"seed-{number}").write_bytes(data)
    folder = Path(__file__).parent / "corpus" / name
    folder.mkdir(parents=True, exist_ok=True)
    folders = ["-merge=1", str(folder), str(merge)] if merge else [str(start)]
    words = [
        *folders, f"-artifact_prefix={folder}/", f"-max_len={LARGEST}", f"-rss_limit_mb={PROCESS_MB}",
             "-timeout=300", "-print_final_stats=1", f"-runs={runs or -1}"]  # fmt: skip
    words += [f"-max_total_time={round(seconds)}"] if seconds else []
    fuzz(name, words)


def fuzz(name: str, words: list[str]) -> None:
    """libFuzzer with these words of its own; to merge it starts this program again, through a shell: never returns."""
    import atheris

    with atheris.instrument_imports(include=["devices"]):
        from targets import TARGETS  # instrumented where it is imported first
    again = f"{shlex.quote(sys.executable)} {shlex.quote(__file__)} {name} --inner"
    atheris.Setup([again, *words], lambda data: in_time(TARGETS[name], data))
    atheris.Fuzz()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1, help="of mutation without atheris")
    parser.add_argument("--plain", action="store_true", help="without atheris")
    parser.add_argument("--found", type=Path, help="folder for inputs that reach new code")
    parser.add_argument("--merge", type=Path, help="folder of such inputs: add the needed ones to the corpus")
    parser.add_argument("--inner", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)  # libFuzzer calls itself
    given = parser.parse_args()
    if given.inner is not None:
        fuzz(given.target, given.inner)
    if given.target not in LOADERS and not given.plain and importlib.util.find_spec("atheris"):
        guided(given.target, given.runs, given.seconds, given.found, given.merge)
    began = time.monotonic()
    done = plain(given.target, given.runs, given.seconds, given.seed)
    print(f"{given.target}: {done} inputs in {time.monotonic() - began:.0f} s, none fell over")


if __name__ == "__main__":
    main()
