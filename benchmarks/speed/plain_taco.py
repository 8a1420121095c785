"""TACO on DrQ-v2 with nothing done for speed: what the same update costs in plain torch.

One perceptron per critic, images shifted by interpolation in float32, convolutions over the whole
batch, Adam as torch has it. Losses, sizes, passes and optimisers are those of TACO's code.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pbrl.agents.drqv2 import DrQv2Config
from pbrl.batches import MultiStepBatch
from pbrl.encoders import STRIDES
from pbrl.taco import TOKEN_HIDDEN, token_size


class PlainTaco:
    """An agent whose `update` does what that of `DrQv2` with TACO does."""

    def __init__(self, config: DrQv2Config, action_dim: int, device: str = "cpu") -> None:
        assert config.taco is not None
        self.config = config
        encoder, taco, hidden = config.encoder, config.taco, config.hidden_size
        channels = [encoder.image_shape[0], *[encoder.num_filters] * len(STRIDES)]
        layers: list[nn.Module] = []
        for inputs, outputs, stride in zip(channels, channels[1:], STRIDES, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, stride), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        rows, columns = encoder.feature_map
        width, token = encoder.num_filters * rows * columns, token_size(action_dim)
        joint, features = taco.num_actions * token, encoder.num_features

        def trunk() -> nn.Sequential:
            return nn.Sequential(nn.Linear(width, features), nn.LayerNorm(features), nn.Tanh())

        def head(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
                nn.Linear(hidden, outputs),
            )  # fmt: skip

        def joined(outputs: int) -> nn.Sequential:
            size = taco.hidden_size
            return nn.Sequential(
                nn.Linear(taco.num_features + joint, size), nn.ReLU(), nn.Linear(size, outputs)
            )

        self.token = nn.Sequential(
            nn.Linear(action_dim, TOKEN_HIDDEN), nn.Tanh(), nn.Linear(TOKEN_HIDDEN, token)
        )
        self.sequence = nn.Sequential(nn.Linear(joint, joint), nn.LayerNorm(joint), nn.Tanh())
        self.project, self.foretell, self.reward = trunk(), joined(taco.num_features), joined(1)
        self.metric = nn.Parameter(torch.rand(taco.num_features, taco.num_features, device=device))
        self.actor = nn.Sequential(trunk(), head(features, action_dim), nn.Tanh())

        def critics() -> nn.ModuleList:
            return nn.ModuleList([trunk(), *(head(features + token, 1) for _ in range(2))])

        self.critics = [critics(), critics()]
        parts = (self.convolutions, self.token, self.sequence, self.project, self.foretell)
        for part in (*parts, self.reward, self.actor, *self.critics):
            part.to(device)
        objective = [self.convolutions, self.token, self.sequence, self.project, self.foretell,
                     self.reward]  # fmt: skip
        own = [part for module in objective for part in module.parameters()]
        self.optimizers = {
            name: torch.optim.Adam(parameters, lr=config.learning_rate)
            for name, parameters in (
                ("encoder", list(self.convolutions.parameters())),
                ("critic", [*self.critics[0].parameters(), *self.token.parameters()]),
                ("actor", list(self.actor.parameters())),
                ("taco", [*own, self.metric]),
            )
        }

    def shifted(self, observations: Tensor) -> Tensor:
        """Return float images, each shifted by its own draw, by sampling a padded image."""
        shape, pad = self.config.encoder.image_shape, self.config.encoder.shift
        images = observations.view(-1, *shape).float()
        padded = F.pad(images, (pad,) * 4, "replicate")
        side, full = shape[1], shape[1] + 2 * pad
        device = images.device
        line = torch.linspace(-1 + 1 / full, 1 - 1 / full, full, device=device)[:side]
        rows, columns = torch.meshgrid(line, line, indexing="ij")
        offsets = torch.randint(0, 2 * pad + 1, (len(images), 1, 1, 2), device=device) * (2 / full)
        grid = torch.stack([columns, rows], -1)[None] + offsets
        return F.grid_sample(padded, grid, padding_mode="zeros", align_corners=False)

    def encode(self, images: Tensor) -> Tensor:
        """Return the features of images."""
        features: Tensor = self.convolutions(images / 255.0 - 0.5).flatten(1)
        return features

    def q(self, which: int, features: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the two critics, or their targets, think."""
        trunk, *heads = self.critics[which]
        seen = torch.cat([trunk(features), self.token(actions)], -1)
        return heads[0](seen)[:, 0], heads[1](seen)[:, 0]

    def noisy(self, means: Tensor) -> Tensor:
        """Return actions with the noise of an update."""
        limit = self.config.noise_limit
        return (means + torch.randn_like(means).clamp(-limit, limit)).clamp(-1, 1)

    def update(self, batch: MultiStepBatch) -> None:
        """Take one step of critics and encoder, actor, targets and objective."""
        features = self.encode(self.shifted(batch.observations))
        with torch.no_grad():
            following = self.encode(self.shifted(batch.next_observations))
            target = torch.min(*self.q(1, following, self.noisy(self.actor(following))))
            discount = self.config.discount**self.config.num_return_steps
            target = batch.rewards + discount * (1 - batch.terminated) * target
        first, second = self.q(0, features, batch.actions)
        self.step(F.mse_loss(first, target) + F.mse_loss(second, target), "encoder", "critic")
        seen = features.detach()
        self.step(-torch.min(*self.q(0, seen, self.noisy(self.actor(seen)))).mean(), "actor")
        with torch.no_grad():
            for old, new in zip(
                self.critics[1].parameters(), self.critics[0].parameters(), strict=True
            ):
                old.copy_(torch.lerp(old, new, self.config.target_rate))
        self.step(self.objective(batch), "taco")

    def objective(self, batch: MultiStepBatch) -> Tensor:
        """Return the sum of the three losses."""
        anchor = self.project(self.encode(self.shifted(batch.observations)))
        with torch.no_grad():
            view = self.project(self.encode(self.shifted(batch.observations)))
            later = self.project(self.encode(self.shifted(batch.later_observations)))
        actions = self.sequence(self.token(batch.action_sequences).flatten(1))
        joined = torch.cat([anchor, actions], -1)
        own = torch.arange(len(anchor), device=anchor.device)
        contrast = F.cross_entropy(self.foretell(joined) @ self.metric @ later.T, own)
        curl = F.cross_entropy(anchor @ self.metric @ view.T, own)
        return contrast + curl + F.mse_loss(self.reward(joined)[:, 0], batch.rewards)

    def step(self, loss: Tensor, *names: str) -> None:
        """Step the optimisers of these names."""
        for name in names:
            self.optimizers[name].zero_grad()
        loss.backward()
        for name in names:
            self.optimizers[name].step()
