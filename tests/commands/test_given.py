from dataclasses import dataclass, field

from pbrl.commands.given import given_options


@dataclass(frozen=True, kw_only=True)
class Data:
    env: str | None = None
    name: str = "x"


@dataclass(frozen=True, kw_only=True)
class Options:
    task: str
    num_steps: int = 5
    seed: int = 0
    data: Data = field(default_factory=Data)


def test_what_has_no_default_is_given():
    assert given_options(Options(task="a")) == {"task"}


def test_another_value_than_the_default_is_given():
    options = Options(task="a", seed=1, data=Data(env="b"))
    assert given_options(options) == {"task", "seed", "data.env"}


def test_the_value_of_the_default_can_be_given():
    options = Options(task="a")
    words = ["a", "--num-steps", "5", "--seed=0", "--data.name", "x", "--other", "1"]
    assert given_options(options, words) == {"task", "num_steps", "seed", "data.name"}
