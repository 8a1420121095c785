"""The examples of docs/datasets.md run as they stand, on small files of the names they use."""

import re
import runpy
from pathlib import Path

import numpy as np

from pbrl.offline import OfflineDataset
from tests.offline.dataset_files import d4rl_arrays, make_episodes, write_hdf5, write_minari

PAGE = Path(__file__).parents[2] / "docs" / "datasets.md"


def write_files(folder: Path) -> None:
    """Write what the page loads."""
    episodes = make_episodes([9, 12], [True, False], observation_dim=11, action_dim=3)
    write_hdf5(folder / "hopper_medium_expert-v2.hdf5", d4rl_arrays(episodes))
    write_minari(folder / "mujoco" / "hopper" / "expert-v0", make_episodes([9], [True]))
    demonstration = {"actions": (5, 7), "obs/object": (5, 10), "obs/robot0_eef_pos": (5, 3)}
    arrays = {f"data/demo_0/{key}": np.zeros(shape) for key, shape in demonstration.items()}
    write_hdf5(folder / "low_dim.hdf5", arrays)


def test_the_examples_run(tmp_path, monkeypatch, capsys):
    write_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 7
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    names = runpy.run_path(str(script))
    assert isinstance(names["dataset"], OfflineDataset)
    assert names["dataset"].replay.num_steps == 80
    printed = capsys.readouterr().out
    assert "hopper-medium-expert-v2 21 ReferenceScores" in printed
    assert "d4rl-v2 31.34" in printed
    assert "its observations have 4 entries" in printed
