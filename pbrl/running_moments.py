"""Running mean and standard deviation, saved with the model that owns them."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class RunningMoments(nn.Module):
    """Mean and standard deviation of everything seen so far; batches may come in any sizes.

    The buffers may have one more axis in front, of seeds that are trained at once; values then have
    it too.

    Counts and sums are float64 buffers, so they travel with `state_dict`. Before two values have
    been seen, and along dimensions that never vary, the standard deviation is 1.

    Args:
        shape: shape of one value.
    """

    count: Tensor
    mean: Tensor
    sum_squares: Tensor  # of the deviations from the mean

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("sum_squares", torch.zeros(shape, dtype=torch.float64))

    @torch.no_grad()
    def update(self, values: Float[Tensor, "*any"]) -> None:
        """Take in `[batch, *shape]` values (Chan, Golub and LeVeque 1979, parallel form).

        The code of B-Pref (Lee et al. 2021) has `mean + delta + n / total` where this has
        `mean + delta * n / total`, which shifts its mean and inflates its scale by some percent.
        """
        number = values.shape[self.count.ndim]
        if number == 0:
            return
        variance, mean = torch.var_mean(values.to(torch.float64), self.count.ndim, correction=0)
        delta = mean - self.mean
        total = self.count + number
        self.mean += delta * self._aligned(number / total, delta)
        growth = variance + delta.square() * self._aligned(self.count / total, delta)
        self.sum_squares += number * growth
        self.count.copy_(total)

    def reset(self) -> None:
        """Forget everything."""
        for buffer in self.buffers():
            buffer.zero_()

    @property
    def std(self) -> Float[Tensor, "*shape"]:
        """Standard deviation with ddof 1."""
        degrees = (self.count - 1).clamp(min=1)
        variance = self.sum_squares / self._aligned(degrees, self.sum_squares)
        return torch.where(variance > 0, variance.sqrt(), 1.0)

    def standardize(self, values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return (values - mean) / std in the type of `values`."""
        mean, std = (
            self._aligned(moment.to(values.dtype), values) for moment in (self.mean, self.std)
        )
        return (values - mean) / std

    def restore(self, values: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return values * std + mean in the type of `values`, which undoes `standardize`."""
        mean, std = (
            self._aligned(moment.to(values.dtype), values) for moment in (self.mean, self.std)
        )
        return values * std + mean

    def _aligned(self, moment: Tensor, values: Tensor) -> Tensor:
        """Return a moment with axes of size 1 after that of seeds, as many as `values` has more."""
        seeds, shape = moment.shape[: self.count.ndim], moment.shape[self.count.ndim :]
        return moment.reshape((*seeds, *(1,) * (values.ndim - moment.ndim), *shape))
