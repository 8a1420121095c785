import pytest

from pbrl.training.records import Records
from pbrl.training.suite_files import find_suite
from pbrl.training.suites import check_data, load_suite
from tests.training.records import make_result

SUITE = """
title = "Two tasks"
seeds = [0, 1]
options = { preset = "cpu" }

[[tasks]]
env = "dmc/walker-walk"
options = { steps = 1000 }
label_options = { "preferences.schedule.budget" = 100, "sac.learn" = false, "x.y" = true }

[[tasks]]
env = "metaworld/door-open-v3"

[[methods]]
agent = "sac"
options = { steps = 2000 }

[[methods]]
agent = "qpa"
control = "shuffled-labels"
options = { sizes = [8, 9] }
"""


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(SUITE)
    return load_suite(path)


def test_every_method_on_every_task_one_seed_after_the_other(suite):
    assert [run.name for run in suite.runs()] == [
        "dmc-walker-walk_sac_0",
        "dmc-walker-walk_qpa_shuffled-labels_0",
        "metaworld-door-open-v3_sac_0",
        "metaworld-door-open-v3_qpa_shuffled-labels_0",
        "dmc-walker-walk_sac_1",
        "dmc-walker-walk_qpa_shuffled-labels_1",
        "metaworld-door-open-v3_sac_1",
        "metaworld-door-open-v3_qpa_shuffled-labels_1",
    ]


def test_the_more_special_option_counts_and_the_oracle_gets_none_about_labels(suite):
    oracle, shuffled, *_ = suite.runs()
    assert oracle.options == {"preset": "cpu", "steps": 2000}
    assert shuffled.options["steps"] == 1000
    assert shuffled.options["preferences.schedule.budget"] == 100


def test_options_become_words(suite, tmp_path):
    words = suite.runs()[1].words(tmp_path, resume=True)
    assert words == [
        "train", "dmc/walker-walk", "--agent", "qpa", "--seed", "0",
        "--control", "shuffled-labels", "--suite", "two", "--out", tmp_path.as_posix(),
        "--preset", "cpu", "--steps", "1000", "--preferences.schedule.budget", "100",
        "--sac.no-learn", "--x.y", "--sizes", "8", "9", "--resume",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds = [0, 1]", ""), "seeds: expected at least one"),
        (("seeds = [0, 1]", "seeds = [0, 0]"), "dmc-walker-walk_sac_0 is there twice"),
        (("seeds = [0, 1]", "seeds = [0.5]"), r"seeds\[0\] must be int"),
        (("title =", "colour = 1\ntitle ="), "unknown fields"),
        (('env = "dmc/walker-walk"', ""), "either an env, .* or a dataset"),
        (('env = "dmc/walker-walk"', 'env = "x"\ndataset = "y"'), "either an env, .* or a dataset"),
        (('env = "dmc/walker-walk"', 'env = "x"\nlabels = "y"'), "belong to a dataset, got none"),
        (('"shuffled-labels"', '"shuffled"'), "control must be one of none"),
        (("seeds =", "seeds"), "not a TOML file"),
        (('agent = "qpa"', 'agent = "qpa"\ngroup = "x"'), "got only one of them for 'x'"),
        (('env = "dmc/walker-walk"', 'env = "x"\nseeds = [2]'), r"of \(0, 1\), got \[2\]"),
    ],
)
def test_a_file_that_is_no_suite_is_refused_by_name(tmp_path, change, message):
    path = tmp_path / "bad.toml"
    path.write_text(SUITE.replace(*change))
    with pytest.raises(ValueError, match=message):
        load_suite(path)


def test_suites_are_found_by_name_or_path(tmp_path):
    path = tmp_path / "online-cpu.toml"
    path.write_text(SUITE)
    assert find_suite("online-cpu", tmp_path) == path
    assert find_suite(str(path), tmp_path / "elsewhere") == path
    with pytest.raises(FileNotFoundError, match="did you mean 'online-cpu'"):
        find_suite("onlinecpu", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"known: \['online-cpu'\]"):
        find_suite("zzz", tmp_path)


def test_a_record_keeps_the_suite_and_its_options(suite, tmp_path):
    records, run = Records(tmp_path / "results"), suite.runs()[0]
    assert not records.has(run)
    records.add(run, make_result(agent="sac"))
    assert records.has(run)
    (record,) = records.load(suite.runs())
    assert (record.suite, record.options) == ("two", run.options)


def test_a_record_of_other_options_is_not_taken_for_this_run(suite, tmp_path):
    records, run = Records(tmp_path / "results"), suite.runs()[0]
    make_result(options={"steps": 5}).save(tmp_path / "record.json")
    records.folder.mkdir()
    (tmp_path / "record.json").rename(records.path(run))
    with pytest.raises(ValueError, match=r"recorded with the options \{'steps': 5\}"):
        records.has(run)


OFFLINE = """
title = "Offline"
seeds = [0]
options = { preset = "cpu" }

[[tasks]]
dataset = "data/hopper.hdf5"
labels = "labels/human"
name = "hopper, human"
options = { "data.env" = "gym/Hopper-v5" }

[[tasks]]
dataset = "pairs.npz"

[[methods]]
agent = "cpl"

[[methods]]
agent = "cpl"
name = "cpl, lambda 1"
control = "flipped-labels"
options = { "method.loss.bias" = 1.0 }
"""


def test_offline_runs_are_fits_of_datasets(tmp_path):
    path = tmp_path / "offline.toml"
    path.write_text(OFFLINE)
    runs = load_suite(path).runs()
    assert [run.name for run in runs] == [
        "hopper-human_cpl_0",
        "hopper-human_cpl-lambda-1_flipped-labels_0",
        "pairs.npz_cpl_0",
        "pairs.npz_cpl-lambda-1_flipped-labels_0",
    ]
    assert runs[1].words(tmp_path, resume=False) == [
        "fit", "data/hopper.hdf5", "labels/human", "--agent", "cpl", "--seed", "0",
        "--control", "flipped-labels", "--suite", "offline", "--out", tmp_path.as_posix(),
        "--preset", "cpu", "--data.env", "gym/Hopper-v5", "--method.loss.bias", "1.0",
    ]  # fmt: skip
    assert runs[2].words(tmp_path, resume=False)[:4] == ["fit", "pairs.npz", "--agent", "cpl"]


GROUPS = """
title = "Two groups"
seeds = [0, 1]

[[tasks]]
dataset = "a.npz"
labels = "b.npz"
group = "labelled"
seeds = [1]
origin = "make_a.py makes it"

[[tasks]]
dataset = "minari:c/d-v0"

[[methods]]
agent = "cpl"
group = "labelled"

[[methods]]
agent = "bc"
options = { sizes = [8, 16] }
"""


@pytest.fixture
def groups(tmp_path):
    path = tmp_path / "groups.toml"
    path.write_text(GROUPS)
    return load_suite(path).runs()


def test_methods_run_on_the_tasks_of_their_group_with_the_seeds_of_the_task(groups):
    assert [run.name for run in groups] == [
        "minari-c-d-v0_bc_0",
        "a.npz_cpl_1",
        "minari-c-d-v0_bc_1",
    ]


def test_options_that_are_lists_survive_a_record(groups, tmp_path):
    records = Records(tmp_path / "results")
    records.add(groups[0], make_result(agent="bc", options=groups[0].options))
    assert records.has(groups[0])


def test_data_that_is_not_there_is_named_with_what_makes_it(groups, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.npz").touch()
    with pytest.raises(FileNotFoundError) as refusal:
        check_data(groups)
    assert str(refusal.value) == "a.npz: not there; make_a.py makes it"
    (tmp_path / "a.npz").touch()
    check_data(groups)


def test_runs_learn_from_labels_of_their_own_seed(tmp_path, monkeypatch):
    path = tmp_path / "groups.toml"
    seeded = GROUPS.replace('"b.npz"', '"b-{seed}.npz"').replace("seeds = [1]\n", "")
    path.write_text(seeded)
    runs = [run for run in load_suite(path).runs() if run.agent == "cpl"]
    assert [run.words(tmp_path, resume=False)[2] for run in runs] == ["b-0.npz", "b-1.npz"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npz").touch()
    (tmp_path / "b-1.npz").touch()
    with pytest.raises(FileNotFoundError, match="^b-0.npz: not there; make_a.py makes it$"):
        check_data(runs)


def test_records_bear_the_names_of_the_suite(tmp_path):
    path = tmp_path / "offline.toml"
    path.write_text(OFFLINE)
    runs, records = load_suite(path).runs(), Records(tmp_path / "results")
    result = make_result(agent="cpl", dataset="hopper-medium-v2", control="flipped-labels")
    record = records.add(runs[1], result)
    assert (record.agent, record.dataset) == ("cpl, lambda 1", "hopper, human")
    assert records.has(runs[1])
    assert records.add(runs[2], result).dataset == "hopper-medium-v2"
    assert records.add(runs[2], make_result()).dataset is None
