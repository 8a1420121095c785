import subprocess
import sys
from pathlib import Path

import pytest

from pbrl.agent_names import OFFLINE, ONLINE
from pbrl.agents import AGENTS
from pbrl.agents.cpl_variants import VARIANTS
from pbrl.commands.list import main
from pbrl.envs import list_ids
from pbrl.training.hindsight_presets import WITH_PRIOR
from pbrl.training.offline_presets import select
from pbrl.training.pixel_presets import ON_IMAGES
from pbrl.training.ppo_presets import WITH_PPO

ROOT = Path(__file__).parents[3]


def listed(capsys, *words):
    main(list(words))
    return capsys.readouterr().out.splitlines()


def test_the_agents_are_those_that_there_are(capsys):
    assert {"sac", "pebble", "qpa", "surf", *WITH_PRIOR, *WITH_PPO, *ON_IMAGES} == set(ONLINE)
    assert set(select._HOME) == set(OFFLINE)
    assert set(VARIANTS) < set(OFFLINE) < set(AGENTS)
    lines = listed(capsys, "agents")
    assert [line.split()[0] for line in lines if line.startswith("  ")] == [*ONLINE, *OFFLINE]
    assert "pbrl train ENV --agent NAME" in lines
    offline = listed(capsys, "agents", "offline")
    assert offline[0] == "pbrl fit DATASET [LABELS] --agent NAME"
    assert len(offline) == 1 + len(OFFLINE)


def test_the_tasks_are_ids_that_make_takes(capsys):
    assert listed(capsys, "tasks", "mjx") == list(list_ids("mjx"))
    everything = listed(capsys, "tasks")
    assert everything == list(list_ids())
    assert {"gym/Hopper-v5", "dmc/walker-walk", "metaworld/window-close-v3"} < set(everything)


def test_the_suites_are_those_of_the_checkout(capsys, tmp_path):
    lines = listed(capsys, "suites", "--root", str(ROOT))
    names = [path.stem for path in sorted((ROOT / "benchmarks" / "suites").glob("*.toml"))]
    assert [line.split()[0] for line in lines] == names
    assert all(len(line.split()) > 1 for line in lines)
    with pytest.raises(FileNotFoundError, match="there is no suite: suites lie in .* --root"):
        main(["suites", "--root", str(tmp_path)])
    (tmp_path / "benchmarks" / "suites").mkdir(parents=True)
    (tmp_path / "benchmarks" / "suites" / "mine.toml").write_text("title =")
    with pytest.raises(ValueError, match="mine.toml is no suite"):
        main(["suites", "--root", str(tmp_path)])


def test_names_are_listed_without_torch_or_a_simulator():
    program = (
        "import sys\n"
        "from pbrl import cli\n"
        "cli.main(['list', 'agents'])\n"
        f"cli.main(['list', 'suites', '--root', {str(ROOT)!r}])\n"
        "heavy = {'torch', 'gymnasium', 'mujoco', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True)


def test_an_unknown_word_names_the_nearest():
    with pytest.raises(ValueError, match="unknown word 'agent'; did you mean 'agents'"):
        main(["agent"])
