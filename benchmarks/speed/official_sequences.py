"""The official programs of OPPO and DTR, run from checkouts, with our parameters.

Both call their package `decision_transformer`; it is imported with stand-ins for what an update
does not need, and forgotten afterwards.
"""

import importlib
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from pbrl.agents.dtr import DTR, NUM_CRITICS
from pbrl.agents.oppo import OPPO
from pbrl.agents.oppo_encoder import HindsightEncoder
from pbrl.agents.sequence_policy import SequencePolicy
from pbrl.transformer import Block
from speed.official import importable
from speed.transformers_stand_in import modules

PACKAGE = "decision_transformer"
ITERATIONS = 50  # of DTR's program; its coefficient reaches its end with the last
EPSILON = 1e-8  # of torch's Adam


@contextmanager
def _package(folder: Path) -> Iterator[None]:
    if not (folder / PACKAGE).is_dir():
        raise ValueError(f"{folder} holds no folder {PACKAGE}")
    arguments = types.ModuleType("args")
    arguments.args = types.SimpleNamespace()
    progress = types.ModuleType("tqdm")
    progress.tqdm = progress.trange = range
    lent = modules() | {"args": arguments, "tqdm": progress}
    with importable(folder, (PACKAGE,), lent):
        yield


def _found(folder: Path, **names: str) -> types.SimpleNamespace:
    with _package(folder):
        return types.SimpleNamespace(
            **{
                name: getattr(importlib.import_module(f"{PACKAGE}.{module}"), attribute)
                for name, (module, attribute) in (
                    (name, target.split(":")) for name, target in names.items()
                )
            }
        )


def oppo_step(checkout: Path, agent: OPPO, batches: list[tuple[Tensor, ...]]) -> Any:
    """Return a step of the program for scripted labels, from the parameters of ours.

    Its loss of imitation and norm is the sum over the two batches where ours is the mean, so that
    its alpha is twice our `preference_weight`; its clip, 0.25, should be twice ours. Adam's epsilon
    is twice ours too, the one thing in it that sees a factor of the whole loss; the program leaves
    it at 1e-8, which tells first in the fifth digit.

    Args:
        checkout: of github.com/bkkgbkjb/OPPO.
        agent: ours.
        batches: the first and the second segments of the pairs: observations, actions, timesteps,
            mask, and what is earned.
    """
    found = _found(
        checkout / "oppo" / "scripted" / "gym",
        trainer="training.pdt_trainer:PDTTrainer",
        encoder="models.encoder_transformer:EncoderTransformer",
        decoder="models.preference_decision_transformer:PreferenceDecisionTransformer",
    )
    config = agent.config
    blocks, of_encoder = config.policy.transformer, config.encoder
    _, observation_dim, action_dim = agent.policy.dims
    sizes = {"max_length": config.policy.context, "max_ep_len": config.policy.num_timesteps}
    decoder = found.decoder(
        observation_dim,
        action_dim,
        hidden_size=blocks.width,
        phi_size=config.context_dim,
        **_gpt(blocks),
        **sizes,
    )
    encoder = found.encoder(
        observation_dim,
        action_dim,
        hidden_size=of_encoder.width,
        output_size=config.context_dim,
        num_hidden_layers=of_encoder.num_layers,
        num_attention_heads=of_encoder.num_heads,
        intermediate_size=4 * of_encoder.width,
        max_position_embeddings=1024,
        hidden_act="relu",
        hidden_dropout_prob=of_encoder.dropout,
        attention_probs_dropout_prob=of_encoder.attention_dropout,
        **sizes,
    )
    for model in (decoder, encoder):
        model.to(agent.context.device)
    copy_policy(agent.policy, decoder, decoder.embed_phi)
    copy_encoder(agent.encoder, encoder)
    context = agent.context.detach().clone().requires_grad_()
    state = {"next": 0}

    def get_batch(_: int) -> tuple[Tensor, ...]:
        observations, actions, timesteps, mask, earned = batches[state["next"] % 2]
        state["next"] += 1
        rest = torch.zeros(1)
        return observations, actions, rest, rest, earned[:, None, None], timesteps, mask.long()

    def adamw(parameters: Any, rate: float, epsilon: float = EPSILON) -> torch.optim.AdamW:
        decay = config.weight_decay
        return torch.optim.AdamW(parameters, lr=rate, eps=epsilon, weight_decay=decay)

    of_decoder = adamw(decoder.parameters(), config.policy_rate.peak, 2 * EPSILON)
    warmup = torch.optim.lr_scheduler.LambdaLR(
        of_decoder, lambda done: config.policy_rate.at(done) / config.policy_rate.peak
    )
    trainer = found.trainer(
        encoder,
        decoder,
        of_decoder,
        adamw(encoder.parameters(), config.encoder_rate.peak, 2 * EPSILON),
        context,
        adamw([context], config.context_rate),
        len(batches[0][0]),
        get_batch,
        lambda _, action, __, ___, target, ____: (action - target).square().mean(),
        str(agent.context.device),
        pref_loss_ratio=2 * config.preference_weight,
        phi_norm_loss_ratio=config.norm_weight,
    )
    encoder.train()
    decoder.train()

    def step() -> dict[str, float]:
        preference, imitation, norm = trainer.train_step()
        warmup.step()
        # Theirs are sums over the two batches, ours means.
        halves = {"imitation_loss": imitation / 2, "norm_loss": norm / 2}
        return halves | {"preference_loss": preference}

    return step


def dtr_step(checkout: Path, agent: DTR, batch: tuple[Tensor, ...]) -> Any:
    """Return a step of DTR's program with the flags of its README, from the parameters of ours.

    Args:
        checkout: of github.com/TU2021/DTR.
        agent: ours.
        batch: observations, actions, rewards, scaled returns to go, timesteps, mask, and whether
            the last step is terminal.
    """
    found = _found(
        checkout,
        trainer="training.ql_trainer:Trainer",
        actor="models.ql_DT:DecisionTransformer",
        critic="models.ql_DT:Critic",
    )
    config, imitation = agent.config, agent.config.imitation
    _, observation_dim, action_dim = agent.policy.dims
    actor = found.actor(
        observation_dim,
        action_dim,
        hidden_size=imitation.policy.transformer.width,
        max_length=imitation.policy.context,
        max_ep_len=imitation.policy.num_timesteps,
        **_gpt(imitation.policy.transformer),
    )
    critic = found.critic(observation_dim, action_dim, hidden_dim=config.critic_hidden_sizes[0])
    for network in (actor, critic):
        network.to(batch[0].device)
    copy_policy(agent.policy, actor, actor.embed_return)
    for member, model in enumerate((critic.q1_model, critic.q2_model)):
        layers = [layer for layer in model if isinstance(layer, nn.Linear)]
        ours = list(agent.critic.parameters())
        for layer, weight, bias in zip(layers, ours[::2], ours[1::2], strict=True):
            layer.weight.data.copy_(weight.detach()[member].T)
            layer.bias.data.copy_(bias.detach()[member, 0])
    observations, actions, rewards, to_go, timesteps, mask, terminated = batch
    following = torch.zeros_like(to_go[:, :1])
    dones = torch.zeros_like(timesteps)[..., None]
    dones[:, -1, 0] = terminated

    def get_batch(_: int) -> tuple[Tensor, ...]:
        return (
            observations, actions, rewards[..., None].clone(), actions,
            dones, torch.cat([to_go, following], 1)[..., None],
            timesteps, mask.long(),
        )  # fmt: skip

    trainer = found.trainer(
        actor,
        critic,
        len(observations),
        config.target_rate,
        config.discount,
        get_batch,
        None,
        eta=config.max_coefficient,
        ema_decay=config.slow_decay,
        step_start_ema=config.slow_start,
        update_ema_every=config.slow_every,
        lr=imitation.rate.peak,
        weight_decay=imitation.weight_decay,
        lr_maxt=ITERATIONS,
        grad_norm=imitation.gradient_clip,
    )
    trainer.critic_optimizer.param_groups[0]["lr"] = config.critic_rate.peak
    actor.train()
    per_iteration = (config.coefficient_updates or 0) // ITERATIONS
    # Without dropout ours draws nothing but which critic gives the value.
    draws = torch.Generator(agent.generator.device)
    draws.set_state(agent.generator.get_state())

    def step() -> dict[str, float]:
        kinds = ("bc_loss", "ql_loss", "actor_loss", "critic_loss", "target_q_mean")
        which = int(torch.randint(NUM_CRITICS, (), generator=draws, device=draws.device))
        with patch.object(np.random, "uniform", return_value=1.0 - which):
            metrics = trainer.train_step(per_iteration, None, {kind: [] for kind in kinds})
        return {
            "imitation_loss": metrics["bc_loss"][-1],
            "critic_loss": metrics["critic_loss"][-1],
            "normalized_value": -metrics["ql_loss"][-1],
        }

    return step


def _gpt(blocks: Any) -> dict[str, Any]:
    return {
        "n_layer": blocks.num_layers,
        "n_head": blocks.num_heads,
        "n_inner": 4 * blocks.width,
        "activation_function": "relu",
        "n_positions": 1024,
        "resid_pdrop": blocks.dropout,
        "embd_pdrop": blocks.dropout,
        "attn_pdrop": blocks.attention_dropout,
    }


def copy_policy(ours: SequencePolicy, theirs: nn.Module, condition: nn.Module) -> None:
    """Give a Decision Transformer of theirs our parameters."""
    layers = (condition, theirs.embed_state, theirs.embed_action)
    for part, layer in zip(ours.embedding.parts, layers, strict=True):
        layer.load_state_dict(part.state_dict())
    theirs.embed_timestep.weight.data.copy_(ours.embedding.place)
    theirs.embed_ln.load_state_dict(ours.embedding.norm.state_dict())
    for block, layer in zip(ours.transformer.blocks, theirs.transformer.h, strict=True):
        for target, sources in (
            (layer.attn.c_attn, (block.query, block.key_value)),
            (layer.attn.c_proj, (block.output,)),
            (layer.mlp.c_fc, (block.widen,)),
            (layer.mlp.c_proj, (block.narrow,)),
        ):
            target.weight.data.copy_(torch.cat([one.weight for one in sources]).T)
            target.bias.data.copy_(torch.cat([one.bias for one in sources]))
        layer.ln_1.load_state_dict(block.norm_1.state_dict())
        layer.ln_2.load_state_dict(block.norm_2.state_dict())
    theirs.transformer.ln_f.load_state_dict(ours.transformer.norm.state_dict())
    theirs.predict_action[0].load_state_dict(ours.action_head.state_dict())


def copy_encoder(ours: HindsightEncoder, theirs: nn.Module) -> None:
    """Give OPPO's encoder our parameters."""
    for part, layer in zip(
        ours.embedding.parts, (theirs.embed_state, theirs.embed_action), strict=True
    ):
        layer.load_state_dict(part.state_dict())
    theirs.embed_timestep.weight.data.copy_(ours.embedding.place)
    theirs.embed_ln.load_state_dict(ours.embedding.norm.state_dict())
    bert = theirs.transformer
    bert.embeddings.LayerNorm.load_state_dict(ours.transformer.norm.state_dict())
    for block, layer in zip(ours.transformer.blocks, bert.encoder.layer, strict=True):
        _copy_bert_layer(block, layer)
    theirs.to_phi.load_state_dict(ours.head.state_dict())


def _copy_bert_layer(block: Block, layer: nn.Module) -> None:
    own = layer.attention.self
    keys, values = block.key_value.weight.chunk(2)
    key_bias, value_bias = block.key_value.bias.chunk(2)
    for target, weight, bias in (
        (own.query, block.query.weight, block.query.bias),
        (own.key, keys, key_bias),
        (own.value, values, value_bias),
        (layer.attention.output.dense, block.output.weight, block.output.bias),
        (layer.intermediate.dense, block.widen.weight, block.widen.bias),
        (layer.output.dense, block.narrow.weight, block.narrow.bias),
    ):
        target.weight.data.copy_(weight)
        target.bias.data.copy_(bias)
    layer.attention.output.LayerNorm.load_state_dict(block.norm_1.state_dict())
    layer.output.LayerNorm.load_state_dict(block.norm_2.state_dict())
