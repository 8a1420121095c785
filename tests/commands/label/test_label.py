import json
import re

import numpy as np
import pytest

from pbrl.commands.label import main
from pbrl.commands.label.report import ReportOptions
from pbrl.feedback import FeedbackStore
from pbrl.offline.labels import detect_format, load_pairs, load_preferences, read_labels
from tests.offline.labels.builders import (
    clean_offline_rlhf,
    cpl_file,
    pair_arrays,
    pairs_file,
    preference_transformer,
)

QUICK = ["--splits", "2", "--passes", "1", "--hidden-sizes", "8", "--members", "1"]


@pytest.fixture
def pairs(tmp_path):
    """Human and scripted labels of the same twenty pairs."""
    arrays = pair_arrays(num_queries=20)
    human = pairs_file(tmp_path / "human.npz", **arrays)
    script = pairs_file(tmp_path / "script.npz", **arrays | {"label": np.resize([1.0, 0.0], 20)})
    return human, script


def test_a_file_of_pairs_becomes_a_record(pairs, tmp_path, capsys):
    main(["import", str(pairs[0]), str(tmp_path / "records" / "human.npz")])
    store = FeedbackStore.load(tmp_path / "records" / "human.npz")
    assert (store.num_labelled, store.num_ties) == (20, 6)
    assert "20 labels, 6 of them ties, and 0 refusals" in capsys.readouterr().out
    dataset = load_pairs(pairs[0]).dataset
    assert len(load_preferences(tmp_path / "records" / "human.npz", dataset)) == 20


def test_scored_segments_become_a_file_of_scores(tmp_path, capsys):
    out = tmp_path / "scores.npz"
    main(["import", str(cpl_file(tmp_path / "mw.npz")), str(out), "--score", "rl_dir"])
    assert detect_format(out) == "scores"
    assert "6 scored segments" in capsys.readouterr().out


def test_rows_without_their_dataset_say_which_one_is_needed(tmp_path):
    folder = preference_transformer(tmp_path / "walker2d-medium-replay-v2")
    with pytest.raises(ValueError, match="walker2d_medium_replay-v2.hdf5 of D4RL.*--dataset"):
        main(["import", str(folder), str(tmp_path / "out.npz")])
    assert not (tmp_path / "out.npz").exists()


def test_rows_with_their_dataset_become_a_record(tmp_path, capsys):
    # Labels that name rows of anything else than D4RL are refused with what is needed.
    folder = preference_transformer(tmp_path / "hopper-medium-v2")
    dataset = pairs_file(tmp_path / "pairs.npz")
    with pytest.raises(ValueError, match="family pairs have no rows"):
        main(["import", str(folder), str(tmp_path / "out.npz"), "--dataset", str(dataset)])


def test_labels_of_another_dataset_are_taken_over_only_when_told_so(pairs, tmp_path):
    other = pairs_file(tmp_path / "other.npz", **pair_arrays(num_queries=20, seed=1))
    main(["import", str(pairs[0]), str(tmp_path / "of-pairs.npz")])
    scores = tmp_path / "scores.npz"
    main(["import", str(cpl_file(tmp_path / "mw.npz")), str(scores)])
    for number, record in enumerate((tmp_path / "of-pairs.npz", scores)):
        words = [str(record), str(tmp_path / f"new{number}.npz"), "--dataset", str(other)]
        for verb in ("import", "export") if record != scores else ("import",):
            with pytest.raises(ValueError, match="the labels are of another dataset"):
                main([verb, *words])
        assert not (tmp_path / f"new{number}.npz").exists()
        main(["import", *words, "--other-dataset"])
        dataset = load_pairs(other).dataset
        assert read_labels(tmp_path / f"new{number}.npz").identity == dataset.identity()
        load_preferences(tmp_path / f"new{number}.npz", dataset)


def test_export_in_every_kind(pairs, tmp_path):
    record = tmp_path / "record.npz"
    main(["import", str(pairs[0]), str(record)])
    main(["export", str(record), str(tmp_path / "labels.csv")])
    assert len((tmp_path / "labels.csv").read_text().splitlines()) == 21
    out = tmp_path / "again.npz"
    main(["export", str(record), str(out), "--dataset", str(pairs[0])])
    assert len(load_pairs(out).preferences) == 20
    with pytest.raises(ValueError, match="holds scores of segments, not labels"):
        main(["export", str(cpl_file(tmp_path / "mw.npz")), str(tmp_path / "x.csv")])


def test_a_report_of_one_folder_needs_no_dataset(tmp_path, capsys):
    main(["report", str(clean_offline_rlhf(tmp_path / "crowd"))])
    output = capsys.readouterr().out
    assert "3 pairs of 6 segments" in output
    assert "| crowd     | 3       | 1     | 1      | 1    | 0        | 0.500" in output
    assert "held out" not in output


def test_a_report_of_two_files_compares_them_and_judges_both(pairs, tmp_path, capsys, terminal):
    out = tmp_path / "reports" / "both.json"
    main(["report", *map(str, pairs), *QUICK, "--out", str(out)])
    output = capsys.readouterr().out
    assert "the two files" in output
    assert "Accuracy of a reward model on labels held out" in output
    record = json.loads(out.read_text())
    assert record["kind"] == "label-report"
    assert record["agreement"]["common"] == 20
    assert record["agreement"]["decided"] == 14
    assert set(record["held_out"]) == {str(path) for path in pairs}
    assert len(record["held_out"][str(pairs[0])]["accuracies"]) == 2
    assert record["summaries"][str(pairs[0])]["total"]["ties"] == 6
    # Nothing was asked twice: that share is not a number, which JSON does not know.
    assert record["summaries"][str(pairs[0])]["consistency"]["value"] is None
    assert record["config"]["splits"] == 2
    assert len(record["files"][str(pairs[0])]) == 64
    for waited in (f"reading {pairs[0].name}", "counting and comparing", "reward models on"):
        assert waited in terminal.getvalue()


def test_the_same_seed_gives_the_same_report(pairs, tmp_path):
    records = []
    for name in ("a.json", "b.json"):
        main(["report", str(pairs[0]), *QUICK, "--out", str(tmp_path / name)])
        records.append(json.loads((tmp_path / name).read_text()))
    assert records[0]["held_out"] == records[1]["held_out"]


def test_splits_of_zero_leave_the_reward_model_out(pairs, capsys):
    main(["report", *map(str, pairs), "--splits", "0"])
    assert "held out" not in capsys.readouterr().out
    assert ReportOptions(labels=pairs[0], splits=0).held_out() is None


def test_a_report_of_scored_segments(tmp_path, capsys):
    main(["report", str(cpl_file(tmp_path / "mw.npz")), *QUICK])
    output = capsys.readouterr().out
    assert "6 segments with a score each" in output
    assert "mw.npz" in output


def test_files_of_two_kinds_are_compared_once_the_advice_is_followed(pairs, tmp_path, capsys):
    record = tmp_path / "record.npz"
    main(["import", str(pairs[1]), str(record)])
    advice = f"`pbrl label export {record} PAIRS.npz --dataset DATASET`"
    for files in ((pairs[0], record), (record, pairs[0])):
        with pytest.raises(ValueError, match=re.escape(advice)):
            main(["report", *map(str, files), "--splits", "0"])
    main(["export", str(record), str(tmp_path / "p.npz"), "--dataset", str(pairs[1])])
    capsys.readouterr()
    main(["report", str(pairs[0]), str(tmp_path / "p.npz"), "--splits", "0"])
    assert re.search(r"the two files +\| 20 ", capsys.readouterr().out)
    scores = cpl_file(tmp_path / "mw.npz")
    with pytest.raises(ValueError, match="mw.npz holds scores of segments, not labels of pairs"):
        main(["report", str(pairs[0]), str(scores), "--splits", "0"])


def test_a_file_without_answers_makes_no_record(pairs, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("episode_0,start_0,length_0,episode_1,start_1,length_1,label\n")
    with pytest.raises(ValueError, match="labels.csv holds no answer: expected one at least"):
        main(["import", str(path), str(tmp_path / "out.npz"), "--dataset", str(pairs[0])])
    assert not (tmp_path / "out.npz").exists()


def test_who_labelled_and_the_weight_go_with_exported_pairs(pairs, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(
        "episode_0,start_0,length_0,episode_1,start_1,length_1,label,weight,annotator\n"
        "0,0,4,1,0,4,1,0.5,ada\n2,0,4,3,0,4,skip,1,eve\n2,0,4,3,0,4,0,1,ben\n"
    )
    out = tmp_path / "out.npz"
    main(["export", str(path), str(out), "--dataset", str(pairs[0])])
    table = read_labels(out)
    assert (table.annotators, table.weights.tolist()) == (("ada", "ben"), [0.5, 1.0])
    assert load_pairs(out).preferences.labelled.weights.tolist() == [0.5, 1.0]


@pytest.mark.parametrize("verb", ["import", "export"])
def test_no_file_is_written_over(pairs, tmp_path, verb):
    taken = tmp_path / "taken.npz"
    taken.write_text("the only copy")
    with pytest.raises(FileExistsError, match="taken.npz is there already; choose another name"):
        main([verb, "nowhere.npz", str(taken)])  # before anything is read
    assert taken.read_text() == "the only copy"
    with pytest.raises(ValueError, match="out must end in .*got b.txt"):
        main([verb, "nowhere.npz", "b.txt"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["import", "a", "b.npz", "--kind", "x"], "kind must be one of record"),
        (["report"], "Required options"),
    ],
)
def test_wrong_options_are_refused(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_a_misspelt_word_is_helped():
    with pytest.raises(ValueError, match="unknown word 'inport'; did you mean 'import'"):
        main(["inport"])


def test_the_words_are_listed(capsys):
    main([])
    assert "usage: pbrl label VERB" in capsys.readouterr().out
