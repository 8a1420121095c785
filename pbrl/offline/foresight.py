"""Labels that look further than the learner: those of OPPO's program for scripted labels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pbrl.feedback import LabelledQueries
from pbrl.offline.steps import DatasetSteps, dataset_steps
from pbrl.pairs import LabelledPairs
from pbrl.replay import ReplayBuffer
from pbrl.segments import SegmentIndex

COIN = 0.5
PREFIX = "foresight"
DEFAULTS = {"steps": 20, "foresee": 200, "budget": 0, "seed": 0}


class ForesightPreferences:
    """Fresh pairs of windows at every draw, labelled by what is earned from their first steps on.

    OPPO's program for scripted labels (Kang et al. 2023) draws and labels new pairs in every
    update, 6.4 million in a run, without any budget; and it compares the rewards of the next 200
    steps, of which the learner sees 20. Near an episode's end fewer steps are summed up, so that
    late windows look bad where rewards are positive. Both is kept here, for comparison with
    published numbers; `budget` makes a fixed set of it.

    Args:
        replay: the dataset.
        steps: of a window; at the end of an episode there may be fewer.
        foresee: steps over which rewards are compared, at least 1.

    Raises:
        ValueError: if the dataset holds no reward to compare, the same after every step, or fewer
            than two steps.
    """

    def __init__(self, replay: ReplayBuffer, *, steps: int = 20, foresee: int = 200) -> None:
        if min(steps, foresee) < 1:
            raise ValueError(f"steps and foresee must be at least 1, got {steps} and {foresee}")
        self._steps = dataset_steps(replay)
        if not bool(self._steps.true_rewards.any()):
            raise ValueError("the dataset holds no reward to label by: all of them are 0")
        if len(self._steps) < 2:  # noqa: PLR2004  a pair
            raise ValueError(f"pairs need two windows, got a dataset of {len(self._steps)} steps")
        self.window_steps = steps
        self._ahead = rewards_ahead(self._steps, foresee)
        if not bool((self._ahead != self._ahead[0]).any()):
            raise ValueError(
                f"all {len(self._steps):,} windows earn the same in the next {foresee} steps: all "
                "pairs would be ties, which prefer nothing that could be learned"
            )

    @property
    def segments(self) -> SegmentIndex:
        """Every window that can be drawn: one from each step on."""
        return self._windows(torch.arange(len(self._steps), device=self._ahead.device))

    def draw(self, number: int, generator: torch.Generator) -> LabelledQueries:
        """Draw pairs of two different windows, uniformly with replacement, and label them."""
        size, device = len(self._steps), generator.device
        first = torch.randint(size, (number,), generator=generator, device=device)
        offset = torch.randint(1, size, (number,), generator=generator, device=device)
        return self._labelled(torch.stack([first, (first + offset) % size], 1))

    def budget(self, number: int, generator: torch.Generator) -> LabelledPairs:
        """Return so many different pairs with their labels, which are all that there are then.

        Raises:
            ValueError: if there are not so many pairs.
        """
        size = len(self._steps)
        existing = size * (size - 1) // 2
        if not 1 <= number <= existing:
            raise ValueError(
                f"a budget must lie between 1 and the {existing:,} pairs of the {size:,} windows "
                f"that there are, got {number:,}"
            )
        kept = torch.zeros(0, dtype=torch.int64)
        while len(kept) < number:
            shape = (2 * number + 8, 2)
            rows = torch.randint(size, shape, generator=generator, device=generator.device)
            rows = rows.cpu().sort(1).values
            codes = (rows[:, 0] * size + rows[:, 1])[rows[:, 0] < rows[:, 1]]
            kept = _first_of_each(torch.cat([kept, codes]))
        kept = kept[:number]
        pairs = torch.stack([kept // size, kept % size], 1)
        swapped = torch.rand(number, generator=generator, device=generator.device) < COIN
        pairs = torch.where(swapped[:, None].cpu(), pairs.flip(1), pairs)
        return LabelledPairs(self._labelled(pairs))

    def _labelled(self, rows: Int[Tensor, "query two"]) -> LabelledQueries:
        rows = rows.to(self._ahead.device)
        ahead_0, ahead_1 = self._ahead[rows].unbind(1)
        labels = ((torch.sign(ahead_1 - ahead_0) + 1) / 2).float()
        return LabelledQueries(self._windows(rows), labels, torch.ones_like(labels))

    def _windows(self, rows: Int[Tensor, "*shape"]) -> SegmentIndex:
        steps = self._steps
        episode = steps.episode[rows]
        start = rows - steps.first_rows[episode]
        return SegmentIndex(episode, start, steps.steps_left[rows].clamp(max=self.window_steps))


def parse_foresight(text: str, replay: ReplayBuffer) -> ForesightPreferences | LabelledPairs:
    """Return the labels that `foresight` or `foresight:budget=2000,foresee=200` describes.

    Settings are `steps` of a window, `foresee`, `budget` (0, the default, for none) and `seed` of
    what the budget is drawn with.

    Raises:
        ValueError: if a setting is unknown or no whole number, or there are no such labels.
    """
    values = dict(DEFAULTS)
    settings = text.removeprefix(PREFIX).removeprefix(":")
    for setting in filter(None, settings.split(",")):
        name, _, word = setting.partition("=")
        if name not in DEFAULTS or not word.isdecimal():
            known = ", ".join(f"{key}=NUMBER" for key in DEFAULTS)
            raise ValueError(f"{text!r}: expected {known}, got {setting!r}")
        values[name] = int(word)
    made = ForesightPreferences(replay, steps=values["steps"], foresee=values["foresee"])
    if values["budget"] == 0:
        return made
    return made.budget(values["budget"], torch.Generator().manual_seed(values["seed"]))


def rewards_ahead(steps: DatasetSteps, number: int) -> Float[Tensor, " step"]:
    """Return the sum of the true rewards of so many steps from each one on, in float64.

    Args:
        steps: of the dataset.
        number: how many; at the end of an episode there are fewer.
    """
    before = torch.zeros(len(steps) + 1, dtype=torch.float64, device=steps.true_rewards.device)
    before[1:] = steps.true_rewards.double().cumsum(0)
    rows = torch.arange(len(steps), device=before.device)
    return before[rows + steps.steps_left.clamp(max=number)] - before[rows]


def _first_of_each(codes: Int[Tensor, " code"]) -> Int[Tensor, " different"]:
    """Return the different codes in the order in which they first came."""
    different, place = codes.unique(return_inverse=True)
    first = torch.full_like(different, len(codes))
    first.scatter_reduce_(0, place, torch.arange(len(codes)), "amin")
    kept: Tensor = different[first.argsort()]
    return kept
