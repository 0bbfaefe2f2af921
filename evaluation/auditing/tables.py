"""An audit as sentences and tables, for a terminal and for the results file."""

from __future__ import annotations

from rich.table import Table

from ...media.clip import STREAMS
from ..document import markdown_table
from ..metrics.bootstrap import N_BOOTSTRAP
from .results import SUSPECT_AUC, Audit, StreamAudit

INVERTED_AUC = 0.45  # below which a ranking is inverted, if the interval is below 0.5


def summary(result: Audit) -> str:
    """One sentence on the leaks."""
    found = [f"{stream.stream}: {', '.join(stream.leaks)}" for stream in result.streams if stream.leaks]
    return f"Leaks: {'; '.join(found)}." if found else "No statistic is a leak."


def remarks(result: Audit) -> list[str]:
    """Sentences on unreadable clips, and on the folds and bootstrap units of each stream."""
    lines = [f"{result.clips} clips, {len(result.unreadable)} of them not readable."]
    for s in result.streams:
        line = f"{s.stream.capitalize()}: {s.genuine} genuine and {s.fakes} fake clips of {s.identities} identities; "
        line += f"{s.folds} folds grouped by {s.grouped_by}" if s.folds > 1 else "too few groups for held-out folds"
        if s.grouped_by != "identity":
            line += " (one class has a single identity)"
        line += f"; intervals over {s.unit_name}."
        if s.n_without_stream:
            line += f" {s.n_without_stream} clips have a label for this stream, but no such stream."
        inverted = [p.name for p in s.probes if p.auc.value < INVERTED_AUC and p.auc.high < 0.5]
        if inverted:
            line += (
                f" Worse than chance: {', '.join(inverted)}. This happens to fakes whose paired real clip is in another fold; "
                "the column source_clip or identity should group them, or leaks remain undetected."
            )
        lines.append(line)
    missing = [stream for stream in STREAMS if stream not in {s.stream for s in result.streams}]
    lines += [f"{stream.capitalize()}: not audited, since its labels are all of one class or empty." for stream in missing]
    return lines


def tables(result: Audit) -> list[Table]:
    """Tables for a terminal: for every stream its probes, and its methods if there are several."""
    found = []
    for stream in result.streams:
        probes = Table("probe", "AUC", "verdict", title=stream.stream, title_justify="left")
        for probe in stream.probes:
            probes.add_row(probe.name, str(probe.auc), probe.verdict, style="bold red" if probe.leak else None)
        probes.add_section()
        probes.add_row(stream.combined.name, str(stream.combined.auc), "")
        found.append(probes)
        if stream.methods:
            methods = Table("method", "fakes", "best probe", "AUC", title=f"{stream.stream}, by method", title_justify="left")
            for row in _method_rows(stream):
                methods.add_row(*row)
            found.append(methods)
    return found


def _method_rows(stream: StreamAudit) -> list[tuple[str, str, str, str]]:
    return [
        (f.name, str(f.fakes), "too few", "-") if f.best is None else (f.name, str(f.fakes), f.best.name, str(f.best.auc))
        for f in stream.methods
    ]


def section(result: Audit, title: str, command: str) -> list[str]:
    """Lines of markdown for :func:`avwitness.evaluation.document.write_section`."""
    lines = [f"# {title}", "", f"Written by `{command}`; do not edit by hand.", ""]
    lines += [
        "Each probe is a small classifier with one trivial statistic of a clip as its input, scored on folds that it was not fitted to. "
        f"It is suspect if its AUC is above {SUSPECT_AUC} or its 95 % interval is above 0.5, which happens to one of forty clean probes by "
        "chance. It is a leak if its AUC is significantly above 0.5 among all probes of the stream (Bonferroni, 5 % for the stream). "
        f"Square brackets are 95 % bootstrap intervals ({N_BOOTSTRAP} draws).",
        "",
        summary(result),
        "",
        *(f"- {remark}" for remark in remarks(result)),
        "",
    ]
    for stream in result.streams:
        rows: list[tuple[object, ...]] = [(probe.name, probe.auc, probe.verdict) for probe in stream.probes]
        lines += [f"## {stream.stream.capitalize()}", ""]
        lines += markdown_table(("probe", "AUC", "verdict"), [*rows, (f"({stream.combined.name})", stream.combined.auc, "")])
        if stream.methods:
            lines += [f"### {stream.stream.capitalize()}: every method against the genuine clips of its sources", ""]
            lines += markdown_table(("method", "fakes", "best probe", "AUC"), _method_rows(stream))
            lines += ["The best of many probes has an AUC above 0.5 by chance; this table is for information.", ""]
    return lines
