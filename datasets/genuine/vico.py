"""Reader of the table of ViCo: pairs of a speaker and a listener, with the listener's attitude."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

TABLE = "RLD_data.csv"  # the name of the published table; any other single CSV in the folder will do
VIDEOS, AUDIOS = "videos", "audios"
ATTITUDES = ("positive", "neutral", "negative")
UNSEEN_SPLIT = "ood"  # its listeners are in no other split
SOURCE_COLUMNS = ("attitude", "audio", "listener", "speaker", "listener_id", "speaker_id", "data_split")
COLUMNS = ("listener_path", "speaker_path", "audio_path", "attitude", "listener", "speaker", "split", "problem")


def read_vico(root: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the table of ViCo, one row per dyad, and check every row.

    Parameters
    ----------
    root : path-like
        The unpacked folder, with ``videos/NAME.mp4`` (silent), ``audios/NAME.wav`` and one table; or the table itself.

    Returns
    -------
    pandas.DataFrame
        As many rows as the table has, in its order. ``listener_path``, ``speaker_path`` and ``audio_path`` (absolute
        :class:`~pathlib.Path`, whether or not there is such a file); ``attitude`` of the listener (positive, neutral or
        negative, in small letters); ``listener`` and ``speaker`` (identities, as strings); ``split``; and ``problem``,
        empty or a sentence. Rows with an empty ``problem`` can be used.

    Raises
    ------
    FileNotFoundError
        If there is no folder or no table.
    ValueError
        If there are several tables, or one that cannot be read, is empty or lacks a column.

    Notes
    -----
    Source: Zhou et al., *Responsive listening head generation: a benchmark dataset and baseline*, ECCV 2022.

    Checked against what its makers publish: the two folders and their suffixes, that videos are silent, a CSV of metadata
    and the three attitudes (project page); the columns ``audio``, ``listener``, ``speaker``, ``listener_id``,
    ``speaker_id`` and ``data_split``, whose first three are file names without suffix (``preprocess/convert.py`` of
    ``dc3ea9f/vico_challenge_baseline``). Known from memory of the page and the paper alone: the name ``RLD_data.csv``, the
    splits ``train``, ``test`` and ``ood``, and that listeners of ``test`` occur in ``train`` by design while those of
    ``ood`` occur nowhere else; hence only the latter is a problem. The data itself was not available. Other splits
    than these three pass.

    The challenge edition of 2022 (``videos/UUID.listener.mp4``, ``train.csv`` with a column ``uuid``) knows no
    attitudes, and is refused.
    """
    table = _find_table(Path(root))
    rows = _read(table)
    folder = table.parent.absolute()
    dyads = pd.DataFrame(
        {
            "listener_path": [_file(folder / VIDEOS, name, ".mp4") for name in rows["listener"]],
            "speaker_path": [_file(folder / VIDEOS, name, ".mp4") for name in rows["speaker"]],
            "audio_path": [_file(folder / AUDIOS, name, ".wav") for name in rows["audio"]],
            "attitude": rows["attitude"].str.lower(),
            "listener": rows["listener_id"],
            "speaker": rows["speaker_id"],
            "split": rows["data_split"],
        },
        dtype=object,
    )
    problems: list[list[str]] = [[] for _ in range(len(dyads))]
    for row, problem in (*_row_problems(rows, dyads), *_repeats(dyads[rows["listener"] != ""]), *_strays(dyads)):
        problems[row].append(problem)
    dyads["problem"] = ["; ".join(found) for found in problems]
    return dyads[list(COLUMNS)]


def is_vico(root: str | os.PathLike[str]) -> bool:
    """Whether a folder holds the published table of ViCo."""
    return (Path(root) / TABLE).is_file()


def vico_clips(dyads: pd.DataFrame) -> pd.DataFrame:
    """The clips of some rows of :func:`read_vico`, one row each, with the columns that genuine clips have elsewhere.

    Returns
    -------
    pandas.DataFrame
        ``path`` and ``file`` (absolute), ``identity``, ``corpus``, ``split``, ``transcript``, ``video_label`` (0) and
        ``audio_label`` (empty: the videos are silent), as :func:`.manifest.read_labels` names them.
    """
    both = [dyads[[f"{who}_path", who, "split"]].set_axis(["file", "identity", "split"], axis=1) for who in ("listener", "speaker")]
    clips = pd.concat(both).drop_duplicates("file").reset_index(drop=True)
    return clips.assign(
        path=clips["file"].map(str),
        corpus="vico",
        transcript="",
        video_label=pd.array([0] * len(clips), dtype="Int8"),
        audio_label=pd.array([pd.NA] * len(clips), dtype="Int8"),
    )


def _find_table(root: Path) -> Path:
    if root.is_file():
        return root
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder; name the one that ViCo was unpacked into, with {VIDEOS}/, {AUDIOS}/ and {TABLE}")
    if (root / TABLE).is_file():
        return root / TABLE
    found = sorted(root.glob("*.csv"))
    if not found:
        raise FileNotFoundError(
            f"{root / TABLE}: no table there; name the folder that holds {VIDEOS}/, {AUDIOS}/ and the CSV that came with them"
        )
    if len(found) > 1:
        raise ValueError(f"{root}: several tables ({', '.join(file.name for file in found)}); name the one to read")
    return found[0]


def _read(table: Path) -> pd.DataFrame:
    """The cells as they were written, without the blanks around them."""
    try:
        rows = pd.read_csv(table, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig")
    except ValueError as error:  # no text, no columns, rows of different length
        raise ValueError(f"{table}: no CSV that can be read ({str(error).strip()}); unpack it again") from None
    missing = [column for column in SOURCE_COLUMNS if column not in rows]
    if missing:
        cure = "this is the challenge edition, take the full dataset" if "uuid" in rows else f"take the published {TABLE}"
        raise ValueError(f"{table}: the columns {', '.join(missing)} are missing; {cure}")
    if not len(rows):
        raise ValueError(f"{table}: holds no rows; unpack it again")
    return rows.fillna("").apply(lambda column: column.str.strip())


def _file(folder: Path, name: str, suffix: str) -> Path:
    """A name stands without suffix in the published table, and may hold dots."""
    return folder / (name if name.endswith(suffix) else name + suffix)


def _row_problems(rows: pd.DataFrame, dyads: pd.DataFrame) -> Iterator[tuple[int, str]]:
    """Problems of single rows."""
    for index in range(len(dyads)):
        row, dyad = rows.iloc[index], dyads.iloc[index]
        empty = [column for column in SOURCE_COLUMNS if not row[column]]
        if empty:
            yield index, f"the row lacks {', '.join(empty)}"
        for stream in ("listener", "speaker", "audio"):
            if row[stream] and not dyad[f"{stream}_path"].is_file():
                yield index, f"the {stream}'s file {dyad[f'{stream}_path']} is missing"
        if row["attitude"] and dyad["attitude"] not in ATTITUDES:
            yield index, f"the attitude {row['attitude']} is none of {', '.join(ATTITUDES)}"
        if row["listener"] and row["listener"] == row["speaker"]:
            yield index, f"the clip {row['listener']} is both speaker and listener"
        elif row["listener_id"] and row["listener_id"] == row["speaker_id"]:
            yield index, f"identity {row['listener_id']} listens to itself"


def _repeats(dyads: pd.DataFrame) -> Iterator[tuple[int, str]]:
    """Problems of rows that share a listener's clip, which belongs to one speaker and one attitude."""
    for _, group in dyads.groupby("listener_path", sort=False):
        if len(group) == 1:
            continue
        differing = [column for column in group if group[column].nunique() > 1]
        lines = [f"{index + 2}" for index in group.index]  # the header is line 1
        if differing:
            what = ", ".join(str(column).removesuffix("_path") for column in differing)
            yield from (
                (index, f"lines {', '.join(lines)} share this listener's clip and contradict each other in {what}") for index in group.index
            )
        else:
            yield from ((index, f"repeats line {lines[0]}") for index in group.index[1:])


def _strays(dyads: pd.DataFrame) -> Iterator[tuple[int, str]]:
    """Problems of listeners of the split of unseen listeners who are in other splits, too."""
    for listener, group in dyads[(dyads["listener"] != "") & (dyads["split"] != "")].groupby("listener", sort=False):
        splits = sorted(set(group["split"]))
        if UNSEEN_SPLIT in splits and len(splits) > 1:
            problem = f"listener {listener} is in the splits {', '.join(splits)}, but nobody in {UNSEEN_SPLIT} may be in another"
            yield from ((index, problem) for index in group.index)
