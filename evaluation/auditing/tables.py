"""An audit in words and tables, for a terminal and for a document."""

from __future__ import annotations

from rich.table import Table

from ...media.clip import STREAMS
from ..document import markdown_table
from .results import SUSPECT_AUC, Audit, StreamAudit

BACKWARDS_AUC = 0.45  # below which ranking backwards is no chance, if the interval agrees


def summary(result: Audit) -> str:
    """One sentence: which statistics give the label away."""
    found = [f"{stream.stream}: {', '.join(stream.leaks)}" for stream in result.streams if stream.leaks]
    return f"The label leaks. {'; '.join(found)}." if found else "No statistic gives the label away."


def remarks(result: Audit) -> list[str]:
    """Sentences on what was read, what could not be, and on how each stream was divided."""
    lines = [f"{result.clips} clips, {len(result.unreadable)} of them not readable."]
    for s in result.streams:
        line = f"{s.stream.capitalize()}: {s.genuine} genuine and {s.fakes} fake clips of {s.identities} identities; "
        line += f"{s.folds} folds that never divide one {s.grouped_by}" if s.folds > 1 else "too few groups to hold any of them out"
        if s.grouped_by != "identity":
            line += " (one class has but one identity)"
        line += f"; intervals over {s.unit_name}."
        if s.without:
            line += f" {s.without} clips have a label for this stream, but no such stream."
        backwards = [p.name for p in s.probes if p.auc.value < BACKWARDS_AUC and p.auc.high < 0.5]
        if backwards:
            line += (
                f" Worse than chance: {', '.join(backwards)}. So rank fakes whose genuine counterpart lies in another fold; "
                "the column source_clip or identity should tie them together, else leaks stay unseen."
            )
        lines.append(line)
    missing = [stream for stream in STREAMS if stream not in {s.stream for s in result.streams}]
    lines += [f"{stream.capitalize()}: not judged, since its labels are all of one class or empty." for stream in missing]
    return lines


def tables(result: Audit) -> list[Table]:
    """What a terminal shows: for every stream its probes, and its methods if there are several."""
    found = []
    for stream in result.streams:
        probes = Table("probe", "AUC", "verdict", title=stream.stream, title_justify="left")
        for probe in stream.probes:
            probes.add_row(probe.name, str(probe.auc), probe.verdict, style="bold red" if probe.leak else None)
        probes.add_section()
        probes.add_row(stream.together.name, str(stream.together.auc), "")
        found.append(probes)
        if stream.methods:
            methods = Table("method", "fakes", "worst probe", "AUC", title=f"{stream.stream}, by method", title_justify="left")
            for row in _method_rows(stream):
                methods.add_row(*row)
            found.append(methods)
    return found


def _method_rows(stream: StreamAudit) -> list[tuple[str, str, str, str]]:
    return [
        (f.name, str(f.fakes), "too few", "-") if f.worst is None else (f.name, str(f.fakes), f.worst.name, str(f.worst.auc))
        for f in stream.methods
    ]


def section(result: Audit, title: str, command: str) -> list[str]:
    """Lines of markdown for :func:`avwitness.evaluation.document.write_section`."""
    lines = [f"# {title}", "", f"Written by `{command}`; do not edit by hand.", ""]
    lines += [
        "Each probe is a small classifier that sees one trivial statistic of a clip alone, judged on folds it was not fitted to. "
        f"It is suspect if its AUC is above {SUSPECT_AUC} or its 95 % interval wholly above 0.5, which one of forty clean probes is by "
        "chance, and a leak if it is above 0.5 by more than chance explains among so many probes (Bonferroni, 5 % for the "
        "stream). Square brackets are 95 % bootstrap intervals (500 rounds).",
        "",
        summary(result),
        "",
        *(f"- {remark}" for remark in remarks(result)),
        "",
    ]
    for stream in result.streams:
        rows: list[tuple[object, ...]] = [(probe.name, probe.auc, probe.verdict) for probe in stream.probes]
        lines += [f"## {stream.stream.capitalize()}", ""]
        lines += markdown_table(("probe", "AUC", "verdict"), [*rows, (f"({stream.together.name})", stream.together.auc, "")])
        if stream.methods:
            lines += [f"### {stream.stream.capitalize()}: every method against the genuine clips of its sources", ""]
            lines += markdown_table(("method", "fakes", "worst probe", "AUC"), _method_rows(stream))
            lines += ["The worst of many probes lies above 0.5 by chance; this table is for information.", ""]
    return lines
