import csv
import sys
import types

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from pbrl.training.metrics import MetricsLog, MetricsTable, read_metrics


def steps(path):
    return [int(row["step"]) for row in read_metrics(path)]


def test_the_table_is_valid_after_every_row_when_columns_appear(tmp_path):
    path = tmp_path / "metrics.csv"
    table = MetricsTable(path)
    table.write(1, {"loss": 0.5})
    assert path.read_text() == "step,loss\n1,0.5\n"
    table.write(2, {"return": 10.0, "loss": 0.25})
    assert path.read_text() == "step,loss,return\n1,0.5,\n2,0.25,10\n"
    table.write(3, {"return": 11.0})
    assert path.read_text().endswith("3,,11\n")
    table.close()
    with path.open(newline="") as file:
        assert len({len(row) for row in csv.reader(file)}) == 1


def test_resume_drops_rows_that_will_come_again(tmp_path):
    path = tmp_path / "metrics.csv"
    table = MetricsTable(path)
    for step in (100, 200, 300):
        table.write(step, {"loss": float(step)})
    table.close()
    table = MetricsTable(path, resume_step=200)
    table.write(300, {"loss": 7.0})
    table.close()
    assert path.read_text() == "step,loss\n100,100\n200,200\n300,7\n"


def test_a_half_written_line_is_repaired(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss\n100,1\n200,2\n300,")
    table = MetricsTable(path)
    table.write(300, {"loss": 3.0})
    table.close()
    assert path.read_text() == "step,loss\n100,1\n200,2\n300,3\n"


def test_names_with_commas_and_quotes_stay_whole(tmp_path):
    table = MetricsTable(tmp_path / "metrics.csv")
    table.write(1, {'a,"b"': 1.0})
    table.close()
    assert read_metrics(tmp_path / "metrics.csv") == [{"step": "1", 'a,"b"': "1"}]


@pytest.mark.parametrize("text", ["name,loss\n1,2\n", "step,loss\n1\n", "", "step"])
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"metrics\.csv is not a table of metrics"):
        MetricsTable(path)


def test_tensors_go_to_the_table_and_to_tensorboard(tmp_path):
    with MetricsLog(tmp_path) as log:
        log.write(5, {"critic/loss": torch.tensor(0.5), "count": 3, "flag": True})
    assert read_metrics(tmp_path / "metrics.csv") == [
        {"step": "5", "critic/loss": "0.5", "count": "3", "flag": "1"}
    ]
    events = EventAccumulator(str(tmp_path)).Reload()
    (scalar,) = events.Scalars("critic/loss")
    assert (scalar.step, scalar.value) == (5, 0.5)


def test_a_resumed_log_hides_steps_that_come_again_from_tensorboard(tmp_path):
    with MetricsLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.write(step, {"x": 0.0})
    with MetricsLog(tmp_path, resume_step=2) as log:
        log.write(3, {"x": 1.0})
    assert steps(tmp_path / "metrics.csv") == [1, 2, 3]
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(scalar.step, scalar.value) for scalar in events.Scalars("x")] == [
        (1, 0),
        (2, 0),
        (3, 1),
    ]


def test_no_events_when_not_asked_for(tmp_path):
    with MetricsLog(tmp_path, tensorboard=False) as log:
        log.write(1, {"x": 1.0})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_a_missing_wandb_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"pbrl\[wandb\]"):
        MetricsLog(tmp_path, tensorboard=False, wandb=True)


def test_wandb_gets_the_numbers_and_a_resumed_run_the_same_id(tmp_path, monkeypatch):
    started, logged = [], []

    class Run:
        id = "abc"

        def log(self, numbers, step):
            logged.append((step, numbers))

        def finish(self):
            logged.append("finished")

    def init(**options):
        started.append((options["project"], options["id"], options["config"]))
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    for _ in range(2):
        with MetricsLog(tmp_path, tensorboard=False, wandb="walks", config={"seed": 1}) as log:
            log.write(1, {"x": torch.tensor(2.0)})
    assert started == [("walks", None, {"seed": 1}), ("walks", "abc", {"seed": 1})]
    assert logged == [(1, {"x": 2.0}), "finished"] * 2
