"""What a causal transformer keeps of the steps so far, for acting without computing them again."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pbrl.attention import attention_bias

Where = slice | Tensor
WHOLE = slice(None)


class TokenMemory:
    """Keys and values of every layer, for many sequences that begin and end on their own.

    Slots are filled in any order and filled again, as a ring is; attention knows no order but that
    later tokens are not seen. Everything stays where it is: a step that fills the same slots of all
    sequences, given as a slice, copies nothing but its own keys and values.

    Args:
        num_sequences: how many.
        num_slots: most tokens of a sequence.
        num_layers: layers of the transformer.
        width: of its tokens.
        device: where the transformer lives.
    """

    def __init__(
        self,
        num_sequences: int,
        num_slots: int,
        *,
        num_layers: int,
        width: int,
        device: torch.device,
    ) -> None:
        shape = (num_sequences, num_slots, 2 * width)
        self._layers = [torch.zeros(shape, device=device) for _ in range(num_layers)]
        self._held = torch.full(shape[:2], -math.inf, device=device)  # 0 where something is held
        past = torch.ones(num_slots, num_slots, dtype=torch.bool, device=device).tril()
        self._causal = attention_bias(past[None])[0]
        self._rows: Tensor | None = None
        self._at: tuple[Where, Where] = (WHOLE, WHOLE)
        self.bias: Float[Tensor, "row token slot"] = self._held[:, None]
        """Added to the logits of the tokens that `place` announced."""

    def forget(self, rows: Int[Tensor, " row"]) -> None:
        """Empty these sequences."""
        self._held[rows] = -math.inf

    def place(
        self,
        slots: slice | Int[Tensor, " token"],
        mask: Bool[Tensor, "row token"] | None = None,
        rows: Int[Tensor, " row"] | None = None,
    ) -> None:
        """Say where the tokens of the next extension go: they see what is held, and those before.

        Args:
            slots: of the new tokens, in their order; what these held is lost.
            mask: false where a token does not exist: nothing but itself sees it. None where all do.
            rows: the sequences that are extended, rising; None for all of them.
        """
        if rows is not None and len(rows) == len(self._held):
            rows = None
        self._rows = rows
        self._at = (WHOLE, slots) if rows is None else (rows[:, None], slots)
        held = self._held if rows is None else self._held[rows]
        number = slots.stop - slots.start if isinstance(slots, slice) else len(slots)
        seen = self._causal[:number, :number]
        if mask is None:
            self._held[self._at] = 0.0
        else:
            entry = torch.zeros(mask.shape, device=held.device).masked_fill_(~mask, -math.inf)
            self._held[self._at] = entry
            own = torch.eye(number, dtype=torch.bool, device=held.device)
            seen = (seen + entry[:, None]).masked_fill_(own, 0.0)
        self.bias = held[:, None].repeat(1, number, 1)
        self.bias[:, :, slots] = seen

    def recall(
        self, layer: int, key_value: Float[Tensor, "row token two_widths"]
    ) -> Float[Tensor, "row slot two_widths"]:
        """Store the keys and values of the new tokens and return those of their sequences."""
        held = self._layers[layer]
        held[self._at] = key_value
        return held if self._rows is None else held[self._rows]
