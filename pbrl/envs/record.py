"""The environment record: what exactly was run, for every result."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from typing import Any


@dataclass(frozen=True, kw_only=True)
class EnvRecord:
    """Everything that decides what an environment does, as plain values.

    Attributes:
        id: the id given to `pbrl.envs.make`, or the qualified name of a constructor.
        backend: "official", "envpool", "rollout" or "mjx".
        num_envs: number of sub-environments.
        max_episode_steps: steps after which an episode is truncated; None when it never is.
        reward_version: version of the reward function where the source has several.
        goal_visible: whether the observation holds the goal; None where there is no such option.
        options: further options given to `pbrl.envs.make`, as text.
        versions: installed version of every package that takes part.
    """

    id: str
    backend: str
    num_envs: int
    max_episode_steps: int | None
    reward_version: str | None = None
    goal_visible: bool | None = None
    options: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain values, ready for JSON."""
        return asdict(self)


def installed_versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the installed version of each of `packages`; those not installed are left out."""
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
