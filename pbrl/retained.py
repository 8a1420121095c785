"""Segments that stay readable after the ring has overwritten their steps."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pbrl.segments import SegmentIndex, Segments

ReadWindows = Callable[[SegmentIndex, int], Segments]
_START_BITS = 32  # a key holds the episode above and the start in these bits
_EPISODE_BITS = 31  # the ring stores episodes as int32
_SLACK_SHARE = 16  # rescue a sixteenth of the ring ahead, so that rescues are few


class RetainedSegments:
    """Labelled segments: an index while the ring holds them, a copy when it is about to wrap.

    Of two retained segments with the same beginning only the longer one is kept; it serves both.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._waiting = SegmentIndex.empty(0, device=device)
        self._waiting_rows = torch.zeros(0, dtype=torch.int64, device=device)
        self._first_waiting_row: int | None = None
        self._keys = torch.zeros(0, dtype=torch.int64, device=device)  # sorted
        self._lengths = torch.zeros_like(self._keys)
        self._windows: Segments | None = None

    def __len__(self) -> int:
        return len(self._keys) + len(self._waiting)

    def add(self, index: SegmentIndex, rows: Int[Tensor, " segment"]) -> None:
        """Remember segments that the ring holds; `rows` is the row of the first step of each."""
        _, is_copied = self._find(index)
        waiting = SegmentIndex.cat([self._waiting, index[~is_copied]])
        waiting_rows = torch.cat([self._waiting_rows, rows[~is_copied]])
        kept = _longest_of_each_key(_key(waiting), waiting.length)
        self._waiting, self._waiting_rows = waiting[kept], waiting_rows[kept]
        self._note_first_row()

    def _note_first_row(self) -> None:
        self._first_waiting_row = int(self._waiting_rows.min()) if len(self._waiting) else None

    def rescue(self, oldest_row: int, num_rows: int, read_windows: ReadWindows) -> None:
        """Copy the segments that begin in rows about to be overwritten."""
        if self._first_waiting_row is None or self._first_waiting_row > oldest_row:
            return
        leaving = self._waiting_rows <= oldest_row + num_rows // _SLACK_SHARE
        index = self._waiting[leaving]
        self._store(index, read_windows(index, int(index.length.max())))
        self._waiting = self._waiting[~leaving]
        self._waiting_rows = self._waiting_rows[~leaving]
        self._note_first_row()

    def _store(self, index: SegmentIndex, windows: Segments) -> None:
        keys = torch.cat([self._keys, _key(index)])
        lengths = torch.cat([self._lengths, index.length])
        if self._windows is not None:
            horizon = max(self._windows.mask.shape[-1], windows.mask.shape[-1])
            windows = _cat(_fit(self._windows, horizon), _fit(windows, horizon))
        kept = _longest_of_each_key(keys, lengths)
        self._keys, self._lengths, self._windows = keys[kept], lengths[kept], windows[kept]

    def _find(self, index: SegmentIndex) -> tuple[Tensor, Tensor]:
        """Return the copy that serves each segment and whether there is one."""
        if not len(self._keys):
            nothing = torch.zeros_like(index.episode)
            return nothing, nothing.to(torch.bool)
        keys = _key(index)
        at = torch.searchsorted(self._keys, keys).clamp(max=len(self._keys) - 1)
        found = (self._keys[at] == keys) & (self._lengths[at] >= index.length)
        found &= (index.episode >> _EPISODE_BITS == 0) & (index.start >> _START_BITS == 0)
        return at, found & (index.length >= 1)

    def require(self, index: SegmentIndex) -> Int[Tensor, " segment"]:
        """Return the copy that serves each segment.

        Raises:
            ValueError: if one of them was never copied.
        """
        at, found = self._find(index)
        if not bool(found.all()):
            missing = index[~found]
            raise ValueError(
                f"{len(missing)} segments are not in the replay buffer, the first is episode "
                f"{int(missing.episode[0])}, start {int(missing.start[0])}, length "
                f"{int(missing.length[0])}: they were overwritten or never existed; call retain() "
                "on segments that must outlive the ring"
            )
        return at

    def read(
        self,
        index: SegmentIndex,
        gone: Bool[Tensor, " segment"],
        horizon: int,
        read_windows: ReadWindows,
    ) -> Segments:
        """Read segments of which those marked `gone` come from the copies.

        Raises:
            ValueError: if one of them was never retained.
        """
        wanted = index[gone]
        at = self.require(wanted)
        assert self._windows is not None  # something was found in it
        copies = _fit(self._windows[at], horizon)
        mask = torch.arange(horizon, device=self._device) < wanted.length[:, None]
        windows = read_windows(index, horizon)  # rows of the gone ones are overwritten below
        windows.observations[gone] = copies.observations * mask[..., None]
        windows.actions[gone] = copies.actions * mask[..., None]
        windows.mask[gone] = mask
        windows.true_rewards[gone] = copies.true_rewards * mask
        return windows

    def state_dict(self) -> dict[str, Any]:
        """Return everything as tensors."""
        waiting = self._waiting
        state: dict[str, Any] = {
            "waiting": torch.stack([waiting.episode, waiting.start, waiting.length]),
            "waiting_rows": self._waiting_rows,
            "keys": self._keys,
            "lengths": self._lengths,
        }
        if self._windows is not None:
            state["windows"] = {
                "observations": self._windows.observations,
                "actions": self._windows.actions,
                "mask": self._windows.mask,
                "true_rewards": self._windows.true_rewards,
            }
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self._waiting = SegmentIndex(*state["waiting"].to(self._device).unbind())
        self._waiting_rows = state["waiting_rows"].to(self._device)
        self._keys = state["keys"].to(self._device)
        self._lengths = state["lengths"].to(self._device)
        windows = state.get("windows")
        self._windows = None
        if windows is not None:
            moved = {name: value.to(self._device) for name, value in windows.items()}
            self._windows = Segments(**moved)
        self._note_first_row()


def _key(index: SegmentIndex) -> Tensor:
    return (index.episode << _START_BITS) + index.start


def _longest_of_each_key(keys: Tensor, lengths: Tensor) -> Tensor:
    """Return positions that sort the keys, of equal ones only the longest."""
    by_length = torch.argsort(lengths, descending=True, stable=True)
    order = by_length[torch.argsort(keys[by_length], stable=True)]
    keys = keys[order]
    is_first = torch.ones_like(keys, dtype=torch.bool)
    is_first[1:] = keys[1:] != keys[:-1]
    return order[is_first]


def _fit(segments: Segments, horizon: int) -> Segments:
    """Cut or pad to `horizon` steps."""
    missing = horizon - segments.mask.shape[-1]
    if missing <= 0:
        return segments[:, :horizon]
    pad = torch.nn.functional.pad
    return Segments(
        pad(segments.observations, (0, 0, 0, missing)),
        pad(segments.actions, (0, 0, 0, missing)),
        pad(segments.mask, (0, missing)),
        pad(segments.true_rewards, (0, missing)),
    )


def _cat(first: Segments, second: Segments) -> Segments:
    return Segments(
        torch.cat([first.observations, second.observations]),
        torch.cat([first.actions, second.actions]),
        torch.cat([first.mask, second.mask]),
        torch.cat([first.true_rewards, second.true_rewards]),
    )
