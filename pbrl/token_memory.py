"""What a causal transformer keeps of the steps so far, for acting without computing them again."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class TokenMemory:
    """Keys and values of every layer, for many sequences that begin and end on their own.

    A sequence fills its slots from the first one on. Slots may be left empty on the way, for tokens
    that do not exist; nothing sees those.

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
        self._is_held = torch.zeros(num_sequences, num_slots, dtype=torch.bool, device=device)
        self._rows = torch.arange(num_sequences, device=device)
        self._slots = torch.zeros(num_sequences, 0, dtype=torch.int64, device=device)

    @property
    def num_slots(self) -> int:
        """Most tokens of a sequence."""
        return self._is_held.shape[1]

    def forget(self, rows: Int[Tensor, " row"]) -> None:
        """Empty these sequences."""
        self._is_held[rows] = False

    def place(
        self,
        rows: Int[Tensor, " row"],
        slots: Int[Tensor, "row token"],
        mask: Bool[Tensor, "row token"],
    ) -> None:
        """Say where the tokens of the next extension go.

        Args:
            rows: the sequences that are extended.
            slots: of each new token, rising and above those that are held.
            mask: false where a token does not exist.
        """
        self._rows, self._slots = rows, slots
        self._is_held[rows[:, None], slots] = mask

    def sight(self) -> Bool[Tensor, "row token slot"]:
        """Return which slots each new token sees: those held up to its own, and its own."""
        slot = torch.arange(self.num_slots, device=self._slots.device)
        own = self._slots[..., None]
        return (slot < own) & self._is_held[self._rows][:, None] | (slot == own)

    def recall(
        self, layer: int, key_value: Float[Tensor, "row token two_widths"]
    ) -> Float[Tensor, "row slot two_widths"]:
        """Store the keys and values of the new tokens and return those of their sequences."""
        held = self._layers[layer]
        held[self._rows[:, None], self._slots] = key_value
        return held if len(self._rows) == len(held) else held[self._rows]
