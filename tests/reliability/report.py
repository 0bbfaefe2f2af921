"""Write the measured sections of ``docs/RELIABILITY.md``: ``make reliability``."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from batch import BatchRun, plot_memory, run_batch
from broken import write_broken_files
from failures import Struck, fill_disk, kill_children, kill_run
from fuzz import OUTCOMES, Case, run_cases
from mutations import MUTATIONS
from service import Load, load_service

from avwitness.evaluation.document import markdown_table, write_section
from avwitness.generators.demo import synthetic_voice
from avwitness.media.encode import write_media

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT, PLOT = DOCS / "RELIABILITY.md", DOCS / "reliability_memory.png"
FUZZ, FILES, UPLOADS, STRUCK_FILES, STRIKES = 5000, 10_000, 200, 300, 10
UPLOAD_SECONDS = 2.0


def fuzz_lines(cases: list[Case], seed: int) -> list[str]:
    """Section on damaged files."""
    rows = []
    for container in sorted({case.container for case in cases}):
        mine = [case for case in cases if case.container == container]
        counts = Counter(case.outcome for case in mine)
        rows.append([container, len(mine), *(counts[outcome] for outcome in OUTCOMES), f"{max(case.seconds for case in mine):.1f}"])
    total = Counter(case.outcome for case in cases)
    rows.append(["all", len(cases), *(total[outcome] for outcome in OUTCOMES), f"{max(case.seconds for case in cases):.1f}"])
    names = ", ".join(mutation.__name__.replace("_", " ") for mutation in MUTATIONS)
    return [
        "### Damaged files",
        "",
        f"{len(cases):,} files of {len(rows) - 1} containers and codecs, each damaged by one to three of: {names} (seed {seed}). "
        "A file must be decoded or refused as damaged; any other outcome is a fault.",
        "",
        *markdown_table(["container", "files", *OUTCOMES, "longest (s)"], rows),
    ]


def batch_lines(run: BatchRun) -> list[str]:
    """Section on the batch."""
    rows = []
    for (kind, broken), counts in sorted(run.outcomes.items(), key=lambda item: (item[0][1], item[0][0])):
        rows.append([kind.replace("_", " "), "yes" if broken else "no", sum(counts.values()), counts["ok"], counts["error"]])
    wrong = sum(row["status"] != ("error" if file.broken else "ok") for file, row in zip(run.files, run.rows, strict=True))
    peak = max(mib for _, mib, _ in run.curve) / 1024
    return [
        "### A batch",
        "",
        f"`avwitness score FOLDER --workers 2` on {len(run.files):,} files, {sum(file.broken for file in run.files)} of them broken: "
        f"{len(run.rows):,} rows, {'one for each file, in the order of the files' if run.in_order else 'NOT one for each file in order'}; "
        f"{wrong} rows with another status than expected; exit status {run.exit_code} (1: some file failed); "
        f"{len(run.files) / run.seconds:.1f} files a second. Memory of all processes: at most {peak:.2f} GiB; its median in the last fifth "
        f"of the files is {run.growth:.3f} times that in the second fifth.",
        "",
        *markdown_table(["kind", "broken", "files", "ok", "error"], rows),
        f"![Memory over files scored]({PLOT.name})",
        "",
    ]


def failure_lines(results: list[Struck]) -> list[str]:
    """Section on killed processes and full disks."""
    rows = [[r.event, r.files, r.strikes, r.first_rows, r.first_errors, r.rows, r.lost, r.doubled, r.errors, r.left] for r in results]
    header = [
        "event",
        "files",
        "times",
        "rows after the first run",
        "errors by the event",
        "rows after `--resume`",
        "lost",
        "doubled",
        "errors left",
        "processes left",
    ]
    return [
        "### Killed processes and a full disk",
        "",
        "The run is struck at random moments, then resumed with `--resume`. *Errors by the event* are rows of intact files that say that "
        "their process died; `--resume` scores them again. *Processes left*: those of a killed run that still ran 20 s later.",
        "",
        *markdown_table(header, rows),
    ]


def service_lines(load: Load, hostile: int) -> list[str]:
    """Section on the scoring service."""
    states, codes = Counter(load.states), Counter(load.codes)
    median, high = load.slowest
    return [
        "### The scoring service",
        "",
        f"`examples/fastapi_server.py` with one worker: {len(load.codes)} uploads, ten at once, {hostile} of them damaged. Answers: "
        f"{', '.join(f'{number} with status {code}' for code, number in sorted(codes.items()))}; {states['ok']} verdicts and "
        f"{states['error']} error verdicts; {load.free} of {load.places} places free afterwards. From upload to answer, the slowest "
        f"twentieth takes {high / median:.1f} times the median.",
        "",
    ]


def write_fuzz(count: int, seed: int, keep: Path) -> None:
    """Damage and decode files; those that go wrong are kept."""
    cases = list(run_cases(count, seed, keep))
    (keep.parent / "fuzz.json").write_text(json.dumps([vars(case) for case in cases]) + "\n")
    write_section(DOCUMENT, "fuzz", fuzz_lines(cases, seed))


def write_batch_section(count: int, seed: int) -> None:
    """Score many files."""
    run = run_batch(count, seed=seed)
    plot_memory(run, PLOT)
    write_section(DOCUMENT, "batch", batch_lines(run))


def write_failures(files: int, strikes: int, seed: int) -> None:
    """Kill processes, and let a disk fill up."""
    results = [
        kill_children(files, "worker", strikes, seed),
        kill_children(files, "decoder", strikes, seed),
        kill_run(files, strikes, seed),
        fill_disk(files, seed),
    ]
    write_section(DOCUMENT, "failures", failure_lines(results))


def write_service(count: int) -> None:
    """Upload files to the service."""
    with tempfile.TemporaryDirectory(prefix="uploads-") as name:
        folder = Path(name)
        bodies = upload_bodies(folder)
        load = load_service(bodies, count)
    write_section(DOCUMENT, "service", service_lines(load, count // len(bodies)))


def upload_bodies(folder: Path) -> list[bytes]:
    """Twenty uploads, the last one damaged in a different way than the first ones are intact."""
    samples = sorted((Path(__file__).parents[2] / "samples").glob("*.mp4"))
    waveform, _ = synthetic_voice(UPLOAD_SECONDS, seed=0)
    audio = write_media(folder / "voice.wav", waveform=waveform, audio_codec="pcm_s16le").read_bytes()
    damaged = write_broken_files(folder, samples[0])["corrupt"].read_bytes()
    return [audio] * 17 + [samples[0].read_bytes(), samples[1].read_bytes(), damaged]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands: dict[str, Callable[[argparse.Namespace], None]] = {
        "fuzz": lambda a: write_fuzz(a.fuzz, a.seed, a.keep),
        "failures": lambda a: write_failures(a.struck_files, a.strikes, a.seed),
        "service": lambda a: write_service(a.uploads),
        "batch": lambda a: write_batch_section(a.files, a.seed),
    }
    parser.add_argument("--of", choices=commands, action="append", help="sections to write; all by default")
    parser.add_argument("--fuzz", type=int, default=FUZZ, help="damaged files")
    parser.add_argument("--files", type=int, default=FILES, help="files of the batch")
    parser.add_argument("--uploads", type=int, default=UPLOADS)
    parser.add_argument("--struck-files", type=int, default=STRUCK_FILES, help="files of a run that is struck")
    parser.add_argument("--strikes", type=int, default=STRIKES)
    parser.add_argument("--keep", type=Path, default=Path(".build/fuzz"), help="folder for damaged files that went wrong")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.of or commands:
        print(f"{name} ...", flush=True)
        commands[name](arguments)


if __name__ == "__main__":
    main()
