"""Acting with a sequence policy: many episodes at once, each at its own step."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pbrl.agents.sequence_policy import TOKENS_PER_STEP, SequencePolicy
from pbrl.token_memory import TokenMemory


class ActingHistory:
    """The last steps of many episodes, and the actions that a sequence policy takes after them.

    A policy that looks back over K steps is computed anew from all of them at every step, or
    (`cached`) from K / 2 to K of them, without computing what has been computed: when K steps are
    full, the older half is dropped and the rest read once again. In training every number of steps
    from 1 to K occurs, so that neither is strange to the policy.

    Args:
        policy: what acts; it is put into evaluation mode and stays there until it learns again.
        cached: keep keys and values.
        newest_condition_only: before the newest step, conditions are zero; needs `cached` off. The
            released code of OPPO (Kang et al. 2023) acts so.

    Raises:
        ValueError: for an impossible combination.
    """

    def __init__(
        self, policy: SequencePolicy, *, cached: bool = True, newest_condition_only: bool = False
    ) -> None:
        if cached and newest_condition_only:
            raise ValueError("with newest_condition_only nothing of a step can be cached")
        self.policy = policy
        self.cached = cached
        self.newest_condition_only = newest_condition_only
        self._num_rows = -1
        self._count = self._timestep = torch.zeros(0, dtype=torch.int64)  # [row]

    def begin(self, is_first: Bool[Tensor, " row"]) -> None:
        """Forget the steps of the rows whose episode begins."""
        if len(is_first) != self._num_rows:
            self._allocate(len(is_first))
        rows = is_first.to(self._count.device).nonzero()[:, 0]
        self._count[rows] = 0
        self._timestep[rows] = 0
        self._memory.forget(rows)

    @torch.no_grad()
    def act(
        self,
        conditions: Float[Tensor, "row condition"],
        observations: Float[Tensor, "row obs"],
    ) -> Float[Tensor, "row act"]:
        """Return an action for each row; `record` must say afterwards which were taken."""
        if len(observations) != self._num_rows:
            self.begin(torch.ones(len(observations), dtype=torch.bool))
        is_full = self._count == self.policy.config.context
        self._drop_oldest(is_full)
        rows, place = self._rows, self._count
        self._conditions[rows, place] = conditions
        self._observations[rows, place] = observations
        self._timesteps[rows, place] = self._timestep
        if self.policy.training:  # changing modes for each step would take longer than some steps
            self.policy.eval()
        actions = self._extend(is_full) if self.cached else self._compute()
        self._count = place + 1
        self._timestep = self._timestep + 1
        return actions

    def record(
        self,
        actions: Float[Tensor, "row act"],
        conditions: Float[Tensor, "row condition"] | None = None,
    ) -> None:
        """Note the actions that were taken, and other conditions than those that were acted on.

        With a cache the latter show when the steps are next read again.
        """
        self._actions[self._rows, self._count - 1] = actions
        if conditions is not None:
            self._conditions[self._rows, self._count - 1] = conditions

    def _allocate(self, num_rows: int) -> None:
        config, device = self.policy.config, self.policy.action_head.weight.device
        context = config.context
        self._num_rows = num_rows
        self._rows = torch.arange(num_rows, device=device)
        self._conditions, self._observations, self._actions = (
            torch.zeros(num_rows, context, dim, device=device) for dim in self.policy.dims
        )
        self._timesteps = torch.zeros(num_rows, context, dtype=torch.int64, device=device)
        self._count = torch.zeros(num_rows, dtype=torch.int64, device=device)
        self._timestep = torch.zeros_like(self._count)
        self._memory = TokenMemory(
            num_rows,
            TOKENS_PER_STEP * context if self.cached else 0,
            num_layers=config.transformer.num_layers,
            width=config.transformer.width,
            device=device,
        )

    def _drop_oldest(self, is_full: Bool[Tensor, " row"]) -> None:
        """Make room for a step: one, or half of them where they are to be read again anyway."""
        context = self.policy.config.context
        number = (context + 1) // 2 if self.cached else 1
        rows = is_full.nonzero()[:, 0]
        if len(rows) == 0:
            return
        for kept in (self._conditions, self._observations, self._actions, self._timesteps):
            kept[rows] = kept[rows].roll(-number, 1)
        self._count[rows] -= number
        self._memory.forget(rows)

    def _compute(self) -> Float[Tensor, "row act"]:
        """Return the actions of the newest steps, from all steps."""
        context = self.policy.config.context
        slot = torch.arange(context, device=self._count.device)
        newest = self._count[:, None]
        conditions = self._conditions
        if self.newest_condition_only:
            conditions = conditions * (slot == newest)[..., None]
        actions = self.policy(
            conditions, self._observations, self._actions, self._timesteps, slot <= newest
        )
        chosen: Tensor = actions[self._rows, self._count]
        return chosen

    def _extend(self, is_full: Bool[Tensor, " row"]) -> Float[Tensor, "row act"]:
        """Return the actions of the newest steps, from what is kept of the others."""
        anew = is_full.nonzero()[:, 0]
        if len(anew) == 0:
            return self._read(self._rows, is_read_anew=False)
        actions = torch.empty_like(self._actions[:, 0])
        actions[anew] = self._read(anew, is_read_anew=True)
        others = (~is_full).nonzero()[:, 0]
        if len(others):
            actions[others] = self._read(others, is_read_anew=False)
        return actions

    def _read(self, rows: Tensor, *, is_read_anew: bool) -> Float[Tensor, "row act"]:
        """Add the newest step, or where nothing is kept all steps, to what is kept.

        A step has three slots: the action before it, its condition and its state. Of the first step
        there is no action before. Rows that are read anew have equally many steps.
        """
        newest = self._count[rows]
        num_steps = int(newest[0]) + 1 if is_read_anew else 1
        place = newest[:, None] + torch.arange(1 - num_steps, 1, device=rows.device)  # [row, time]
        before = (place - 1).clamp(min=0)
        at = rows[:, None]
        embedded = self._embed(at, torch.cat([before, place], 1))
        of_before, of_place = embedded.unflatten(1, (2, num_steps, TOKENS_PER_STEP)).unbind(1)
        tokens = torch.cat([of_before[:, :, 2:], of_place[:, :, :2]], 2).flatten(1, 2)
        slots = TOKENS_PER_STEP * place[..., None] + torch.arange(
            TOKENS_PER_STEP, device=rows.device
        )
        exists = torch.ones_like(slots, dtype=torch.bool)
        exists[..., 0] = place > 0
        self._memory.place(rows, slots.flatten(1), exists.flatten(1))
        outputs = self.policy.transformer.extend(tokens, self._memory, slice(-1, None))
        return self.policy.actions_of(outputs)[:, 0]

    def _embed(self, rows: Tensor, place: Tensor) -> Tensor:
        return self.policy.embed(
            self._conditions[rows, place],
            self._observations[rows, place],
            self._actions[rows, place],
            self._timesteps[rows, place],
        )
