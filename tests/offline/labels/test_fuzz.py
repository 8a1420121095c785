"""Valid files with random changes: each loads cleanly or is refused in one kind of error."""

import shutil

import numpy as np
import pytest
import torch

from pbrl.offline.labels import load_preferences, save_scores
from pbrl.pairs import ScoredSegments
from pbrl.segments import SegmentIndex
from tests.offline.labels.builders import (
    clean_offline_rlhf,
    cpl_file,
    make_dataset,
    pairs_file,
    preference_transformer,
)

ROUNDS = 80


def csv_file(path):
    header = "episode_0,start_0,length_0,episode_1,start_1,length_1,label,weight,annotator\n"
    path.write_text(header + "0,1,5,1,2,5,0,1,ann\n1,0,9,0,0,9,0.5,2,bob\n" * 3)
    return path


def scores_file(path):
    index = np.array([[0, 0, 5], [1, 3, 5], [1, 10, 5]])
    segments = SegmentIndex(*torch.from_numpy(index).unbind(-1))
    scored = ScoredSegments(segments, torch.tensor([1.0, 2.0, 3.0]))
    save_scores(path, scored, make_dataset().identity())
    return path


def record_file(path):
    from pbrl.offline.labels import load_feedback

    load_feedback(csv_file(path.with_suffix(".csv")), make_dataset()).save(path)
    return path


def annotated_file(path):
    told = {"annotator": np.array(["ann", "bob", "ann"]), "weight": np.array([1.0, 0.5, 2.0])}
    return pairs_file(path, **told)


WRITERS = {
    "preference-transformer": lambda path: preference_transformer(path / "hopper-medium-v2"),
    "clean-offline-rlhf": lambda path: clean_offline_rlhf(path / "human"),
    "scripted": lambda path: clean_offline_rlhf(path / "script", labels=[[1.0, 0.0]] * 3),
    "pairs": lambda path: pairs_file(path / "pairs.npz"),
    "cpl": lambda path: cpl_file(path / "cpl.npz"),
    "csv": lambda path: csv_file(path / "labels.csv"),
    "scores": lambda path: scores_file(path / "scores.npz"),
    "record": lambda path: record_file(path / "record.npz"),
    "annotated pairs": lambda path: annotated_file(path / "annotated.npz"),
}


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Return some bytes changed, cut off, doubled or removed."""
    changed = bytearray(data)
    match rng.integers(5):
        case 0:
            return bytes(changed[: rng.integers(len(changed))])
        case 1:
            place, size = rng.integers(len(changed)), rng.integers(1, 20)
            del changed[place : place + size]
        case 2:
            place, size = rng.integers(len(changed)), rng.integers(1, 20)
            changed[place:place] = changed[place : place + size]
        case _:
            for place in rng.integers(len(changed), size=rng.integers(1, 6)):
                changed[place] = rng.integers(256)
    return bytes(changed)


@pytest.mark.parametrize("kind", WRITERS)
def test_changed_files_load_cleanly_or_are_refused(tmp_path, kind):
    rng = np.random.default_rng(list(WRITERS).index(kind))
    source = WRITERS[kind](tmp_path / "valid" if (tmp_path / "valid").mkdir() is None else tmp_path)
    dataset = make_dataset()
    if kind in ("pairs", "cpl", "annotated pairs"):
        from pbrl.offline.labels import load_pairs

        dataset = load_pairs(source).dataset
    load_preferences(source, dataset)
    outcomes = {"loaded": 0, "refused": 0}
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "valid", folder)
        path = folder / source.name
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        victim = files[rng.integers(len(files))]
        victim.write_bytes(mutate(victim.read_bytes(), rng))
        try:
            loaded = load_preferences(path, dataset)
        except ValueError as error:
            outcomes["refused"] += 1
            named = str(error)
        else:
            outcomes["loaded"] += 1
            assert len(loaded.segments) > 0
            continue
        assert source.name in named, named
    assert outcomes["refused"] > ROUNDS / 4
