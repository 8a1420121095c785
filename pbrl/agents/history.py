"""Acting with a sequence policy: many episodes at once, each at its own step."""

import torch
from jaxtyping import Bool, Float, Int
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
        self._clock = 0  # steps of the environments, all at once
        self._full_at = 0  # by that clock, no row's context is full before
        self._some_begin = True
        self._count = self._timestep = torch.zeros(0, dtype=torch.int64)  # [row]

    def begin(self, is_first: Bool[Tensor, " row"]) -> None:
        """Forget the steps of the rows whose episode begins."""
        if len(is_first) != self._num_rows:
            self._allocate(len(is_first))
        rows = is_first.to(self._count.device).nonzero()[:, 0]
        self._count[rows] = 0
        self._timestep[rows] = 0
        self._memory.forget(rows)
        self._some_begin = True

    def act(
        self,
        conditions: Float[Tensor, "row condition"],
        observations: Float[Tensor, "row obs"],
    ) -> Float[Tensor, "row act"]:
        """Return an action for each row; `record` must say afterwards which were taken."""
        if len(observations) != self._num_rows:
            self.begin(torch.ones(len(observations), dtype=torch.bool))
        if self.policy.training:  # changing modes for each step would take longer than some steps
            self.policy.eval()
        with torch.inference_mode():  # a tenth quicker than no_grad on so many small operations
            place = self._clock % self.policy.config.context
            self._conditions[:, place] = conditions
            self._observations[:, place] = observations
            actions = self._extend(place) if self.cached else self._compute(place)
            self._clock += 1
            self._count += 1
            self._timestep += 1
        return actions.clone()  # an ordinary tensor, which may be changed and learned from

    def record(
        self,
        actions: Float[Tensor, "row act"],
        conditions: Float[Tensor, "row condition"] | None = None,
    ) -> None:
        """Note the actions that were taken, and other conditions than those that were acted on.

        With a cache the latter show when the steps are next read again.
        """
        place = (self._clock - 1) % self.policy.config.context
        self._actions[:, place] = actions
        if conditions is not None:
            self._conditions[:, place] = conditions

    def _allocate(self, num_rows: int) -> None:
        config, device = self.policy.config, self.policy.action_head.weight.device
        self._num_rows = num_rows
        self._clock, self._full_at = 0, config.context
        # The steps stand in a ring, at the same place in all rows.
        self._conditions, self._observations, self._actions = (
            torch.zeros(num_rows, config.context, dim, device=device) for dim in self.policy.dims
        )
        self._count = torch.zeros(num_rows, dtype=torch.int64, device=device)
        self._timestep = torch.zeros_like(self._count)
        self._memory = TokenMemory(
            num_rows,
            TOKENS_PER_STEP * config.context if self.cached else 0,
            num_layers=config.transformer.num_layers,
            width=config.transformer.width,
            device=device,
        )

    def _compute(self, place: int) -> Float[Tensor, "row act"]:
        """Return the actions of the newest steps, from all steps."""
        context = self.policy.config.context
        conditions, observations, actions = (
            ring.roll(context - 1 - place, 1)
            for ring in (self._conditions, self._observations, self._actions)
        )
        if self.newest_condition_only:
            conditions[:, :-1] = 0
        age = torch.arange(context - 1, -1, -1, device=self._count.device)
        timesteps = (self._timestep[:, None] - age).clamp(min=0)
        mask = age <= self._count[:, None]
        chosen: Tensor = self.policy(
            conditions, observations, actions, timesteps, mask, last_only=True
        )
        return chosen[:, 0]

    def _extend(self, place: int) -> Float[Tensor, "row act"]:
        """Return the actions of the newest steps, from what is kept of the others.

        A step has three slots: the action before it, its condition and its state. Of the first step
        there is no action before.
        """
        if self._clock >= self._full_at:
            context = self.policy.config.context
            rows = (self._count == context).nonzero()[:, 0]
            self._count[rows] = context // 2
            self._full_at = self._clock + context - int(self._count.max())
            if len(rows):
                actions = self._read_again(rows, context // 2 + 1)
                if len(rows) == self._num_rows:
                    return actions
        mask = None
        if self._some_begin:
            mask = torch.ones(
                self._num_rows, TOKENS_PER_STEP, dtype=torch.bool, device=self._count.device
            )
            mask[:, 0] = self._count > 0
            self._some_begin = False
        self._memory.place(slice(TOKENS_PER_STEP * place, TOKENS_PER_STEP * (place + 1)), mask)
        tokens = self.policy.embedding.arriving(
            self._actions[:, place - 1],
            (self._conditions[:, place], self._observations[:, place]),
            self._timestep,
        )
        return self._actions_after(tokens)

    def _read_again(self, rows: Int[Tensor, " row"], num_steps: int) -> Float[Tensor, "row act"]:
        """Keep the last steps of some rows alone, the newest included, and return their actions."""
        config, device = self.policy.config, rows.device
        step = torch.arange(1 - num_steps, 1, device=device)
        at = rows[:, None], (self._clock + step) % config.context
        tokens = self.policy.embed(
            self._conditions[at],
            self._observations[at],
            self._actions[at],
            self._timestep[rows, None] + step,
        )[:, :-1]
        # From the condition of the first of these steps to the state of the newest.
        end = TOKENS_PER_STEP * (self._clock + 1)
        slots = torch.arange(end - tokens.shape[1], end, device=device)
        self._memory.forget(rows)
        self._memory.place(slots % (TOKENS_PER_STEP * config.context), rows=rows)
        return self._actions_after(tokens)

    def _actions_after(self, tokens: Float[Tensor, "row token width"]) -> Float[Tensor, "row act"]:
        """Add tokens where the memory has just put them, and return the last one's actions."""
        outputs = self.policy.transformer.extend(tokens, self._memory, slice(-1, None))
        return self.policy.actions_of(outputs)[:, 0]
