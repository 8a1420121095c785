"""Who acts while a dataset is collected, and for which share of it."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

from pbrl.checks import check_fields

RANDOM, SCRIPTED, REPLAY_PREFIX = "random", "scripted", "replay="


@dataclass(frozen=True, kw_only=True)
class Source:
    """One policy, what is done to its actions, and how much of the dataset it provides.

    Attributes:
        policy: "random" acts uniformly in [-1, 1]; "scripted" is Meta-World's expert for the task;
            otherwise the folder of a run, one of its checkpoints, or a SAC file (.zip) of
            stable-baselines3. "replay=RUN" is no policy but the episodes in the replay buffer of a
            run, or of any other dataset.
        share: of the dataset, relative to the other sources', above 0.
        noise: standard deviation of Gaussian noise added to the action, 0 or above. CPL: 0.3.
        scale: factor on the action before the noise, in [0, 1]; below 1 the policy is slower.
        random: probability of acting uniformly in a step instead, in [0, 1].
        offset: how far beside its true place, along the x axis and in metres, the scripted expert
            takes the object to be: a demonstrator who misjudges it, always in the same way.
        stochastic: take samples of the policy instead of its mode.
    """

    policy: str
    share: float = 1.0
    noise: float = 0.0
    scale: float = 1.0
    random: float = 0.0
    offset: float = 0.0
    stochastic: bool = False

    def __post_init__(self) -> None:
        check_fields(
            self,
            ("policy", "a name or a path", self.policy != ""),
            ("share", "above 0", 0 < self.share < float("inf")),
            ("noise", "0 or above", 0 <= self.noise < float("inf")),
            ("scale", "in [0, 1]", 0 <= self.scale <= 1),
            ("random", "in [0, 1]", 0 <= self.random <= 1),
            ("offset", "finite", abs(self.offset) < float("inf")),
        )
        if self.offset and self.policy != SCRIPTED:
            raise ValueError(f"only the scripted expert has an offset, got {self.policy!r}")
        changes = (self.noise, self.scale, self.random, self.stochastic)
        if self.is_replay and changes != (0.0, 1.0, 0.0, False):
            raise ValueError(f"{self.policy} is recorded: nothing but its share can be set")
        if self.stochastic and self.policy in (RANDOM, SCRIPTED):
            raise ValueError(f"the policy {self.policy!r} has no samples: leave out stochastic")

    @property
    def is_replay(self) -> bool:
        """Whether the episodes were recorded before."""
        return self.policy.startswith(REPLAY_PREFIX)

    @property
    def recording(self) -> str:
        """What holds the recorded episodes, for `pbrl.offline.load.load_dataset`."""
        return self.policy.removeprefix(REPLAY_PREFIX)

    def __str__(self) -> str:
        changes = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "policy" and getattr(self, field.name) != field.default
        }
        settings = ",".join(f"{name}={_word(value)}" for name, value in changes.items())
        return f"{self.policy}:{settings}" if settings else self.policy


MIXTURES: dict[str, tuple[str, ...]] = {
    "random": ("random",),
    "medium": ("medium",),
    "expert": ("expert",),
    "medium-expert": ("medium", "expert"),
    "medium-replay": ("replay",),
}
"""D4RL's mixtures (Fu et al. 2020, section 5) and the policies that each is made of, in order."""


def mix(mixture: str, policies: Sequence[Source]) -> tuple[Source, ...]:
    """Return the sources of one of D4RL's mixtures, in equal shares.

    D4RL calls medium a policy trained to about a third of the expert's return, expert one trained
    to the end, and medium-replay the replay buffer of training until the medium policy; all
    policies are sampled. Its random policy is a network as initialised, ours acts uniformly.

    Args:
        mixture: a name of `MIXTURES`.
        policies: the policies that it is made of, in the order of the table; none for "random".

    Raises:
        ValueError: if there is no such mixture, or it is made of other policies than given.
    """
    if mixture not in MIXTURES:
        raise ValueError(f"mixture must be one of {', '.join(MIXTURES)}, got {mixture!r}")
    roles = MIXTURES[mixture]
    if mixture == "random" and not policies:
        return (Source(policy=RANDOM),)
    if len(policies) != len(roles):
        raise ValueError(
            f"the mixture {mixture} is made of {len(roles)} policies ({', '.join(roles)}), "
            f"got {len(policies)}"
        )
    mixed = []
    for role, source in zip(roles, policies, strict=True):
        if role == "replay":
            path = source.policy.removeprefix(REPLAY_PREFIX)
            mixed.append(Source(policy=REPLAY_PREFIX + path))
        else:
            is_network = source.policy not in (RANDOM, SCRIPTED)
            mixed.append(replace(source, share=1.0, stochastic=is_network))
    return tuple(mixed)


def parse_source(text: str) -> Source:
    """Return the source that `POLICY` or `POLICY:NAME=VALUE,...` describes.

    For instance `scripted:noise=0.3,scale=0.4,share=2` or `runs/medium:stochastic=true`.

    Raises:
        ValueError: if a name or a value is not one of a `Source`.
    """
    policy, colon, settings = text.rpartition(":")
    if not colon or "=" not in settings:
        return Source(policy=text)
    hints = get_type_hints(Source)
    values: dict[str, Any] = {}
    for setting in settings.split(","):
        name, _, word = setting.partition("=")
        if name not in hints or name == "policy":
            known = ", ".join(key for key in hints if key != "policy")
            raise ValueError(f"{text!r}: a source has {known}, got {name!r}")
        values[name] = _value(hints[name], word, text)
    return Source(policy=policy, **values)


def _value(kind: type, word: str, text: str) -> float | bool:
    if kind is bool:
        if word not in ("true", "false"):
            raise ValueError(f"{text!r}: expected true or false, got {word!r}")
        return word == "true"
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"{text!r}: expected a number, got {word!r}") from None


def _word(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}"


def quotas(sources: Sequence[Source], total: int) -> list[int]:
    """Return how many of `total` episodes or steps each source provides.

    Shares are rounded down and what is left goes to the largest remainders.

    Raises:
        ValueError: if a source would provide nothing.
    """
    shares = [source.share for source in sources]
    exact = [total * share / sum(shares) for share in shares]
    counts = [int(one) for one in exact]
    by_remainder = sorted(range(len(sources)), key=lambda k: (counts[k] - exact[k], k))
    for place in by_remainder[: total - sum(counts)]:
        counts[place] += 1
    if min(counts, default=0) < 1:
        raise ValueError(f"shares {shares} of {total} leave nothing for a source: {counts}")
    return counts
