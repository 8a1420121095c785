import pytest

from pbrl import envs

GOOD = """
import gymnasium
from gymnasium.envs.classic_control import PendulumEnv
gymnasium.register('OwnModule-v0', entry_point=PendulumEnv, max_episode_steps=7)
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a module of a user and return its name."""

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        return name

    monkeypatch.syspath_prepend(tmp_path)
    return write


@pytest.mark.parametrize(
    ("name", "text", "cause"),
    [
        (
            "lacks_another",
            "import gymnasium\nimport no_such_thing\n",
            r"ModuleNotFoundError: No module named 'no_such_thing' \(.*lacks_another.py, line 2\)",
        ),
        ("misspelt", "def (\n", r"SyntaxError: invalid syntax \(misspelt.py, line 1\)"),
        (
            "fails",
            "\n\n1 / 0\n",
            r"ZeroDivisionError: division by zero \(.*fails.py, line 3\)",
        ),
        ("exits", "raise ValueError('mine')\n", r"ValueError: mine \(.*exits.py, line 1\)"),
    ],
)
def test_what_fails_in_a_module_is_named_with_its_place(write, name, text, cause):
    message = rf"^gym/{name}:Own-v0: importing the module '{name}' failed: {cause}\. Mend"
    with pytest.raises(ImportError, match=message) as caught:
        envs.make(f"gym/{write(name, text)}:Own-v0")
    assert caught.value.name is None  # or it would pass for a fault of ours


def test_a_missing_module_is_named_with_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"no module 'no_such_module', neither in {tmp_path} "):
        envs.make("gym/no_such_module.envs:Own-v0")


def test_an_id_that_the_module_does_not_register_is_refused(write):
    module = write("registers_one", GOOD)
    with pytest.raises(ValueError, match="registers_one.py registers no 'OwnModule-v1'; did you"):
        envs.make(f"gym/{module}:OwnModule-v1")


def test_an_entry_point_that_is_not_there_is_named(write):
    text = "import gymnasium\ngymnasium.register('NoEntry-v0', entry_point='no_entry:Nothing')\n"
    message = "'no_entry' failed: AttributeError: .*'Nothing'. Mend"
    with pytest.raises(ImportError, match=message):
        envs.make(f"gym/{write('no_entry', text)}:NoEntry-v0")
