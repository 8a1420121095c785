"""TACO on DrQ-v2: updates at the official size, and where their time goes."""

from collections.abc import Callable
from typing import Any

import torch

from pbrl.agents.drqv2 import DrQv2, DrQv2Config
from pbrl.batches import MultiStepBatch
from pbrl.encoders import shift_each
from pbrl.replay import ReplayBuffer
from pbrl.taco import TacoConfig
from speed.measure import ACTION_DIM, Row, repeated, time_in_turns
from speed.plain_taco import PlainTaco

CONFIG = DrQv2Config(taco=TacoConfig())
BATCH = 1024
LEAST_RATIO = 1.5
FRAMES = 3
NUM_STORED, EPISODE = 2_000, 500


def taco_updates(rounds: int) -> list[Row]:
    """Time an update against the plain one, on the same batch, and its parts by themselves.

    The parts are those of one update: five shifts of the images, two passes of the encoder with and
    three without gradients, and the objective on codes that are there. The batch is drawn before,
    which is timed beside them.
    """
    agent, replay, batch = make_taco()
    draws = agent.generator
    plain = PlainTaco(CONFIG, ACTION_DIM)
    times = time_in_turns(
        {
            "plain torch": repeated(lambda: plain.update(batch)),
            "pbrl": repeated(lambda: agent.update(batch)),
            "augmentation": repeated(lambda: _shift(agent, batch)),
            "encoder": repeated(lambda: _encode(agent, batch)),
            "objective": repeated(_objective(agent, batch)),
            "draw": repeated(lambda: replay.sample(BATCH, draws, steps=agent.batch_steps)),
        },
        rounds,
    )
    baseline, ours = times["plain torch"], times["pbrl"]
    notes = {name: f"{found.cpu / ours.cpu:.1%} of an update" for name, found in times.items()}
    notes |= {"plain torch": "", "pbrl": f"{1 / ours.cpu:.2f} updates/s"}
    ratio = baseline.cpu / ours.cpu
    judged = {
        "ratio": ratio,
        "aim": f"{LEAST_RATIO}x plain torch",
        "is_met": ratio >= LEAST_RATIO,
    }
    case = f"batch {BATCH}, {'x'.join(map(str, CONFIG.encoder.image_shape))}"
    return [
        Row(
            section="TACO update",
            case=case,
            contender=name,
            **found.columns(),
            note=notes[name],
            **(judged if name == "pbrl" else {}),
        )
        for name, found in times.items()
    ]


def make_taco(
    device: str = "cpu", batch_size: int | None = None
) -> tuple[DrQv2, ReplayBuffer, MultiStepBatch]:
    """Return our agent, a replay of random images, and a batch out of it."""
    draws = torch.Generator(device).manual_seed(0)
    replay = _stored(draws)
    dims = (replay.observation_dim, ACTION_DIM)
    agent = DrQv2(CONFIG, *dims, device=device, generator=draws)
    batch = replay.sample(batch_size or BATCH, draws, steps=agent.batch_steps)
    assert isinstance(batch, MultiStepBatch)  # the objective looks ahead
    return agent, replay, batch


def _stored(draws: torch.Generator) -> ReplayBuffer:
    channels, *sides = CONFIG.encoder.image_shape
    frame = (channels // FRAMES, *sides)
    size = frame[0] * frame[1] * frame[2]
    num_episodes = NUM_STORED // EPISODE
    where: dict[str, Any] = {"generator": draws, "device": draws.device}
    return ReplayBuffer.from_episodes(
        observations=torch.randint(256, (NUM_STORED, size), dtype=torch.uint8, **where),
        actions=2 * torch.rand(NUM_STORED, ACTION_DIM, **where) - 1,
        true_rewards=torch.rand(NUM_STORED, **where),
        last_observations=torch.zeros(num_episodes, size, dtype=torch.uint8),
        lengths=torch.full((num_episodes,), EPISODE),
        terminated=torch.zeros(num_episodes, dtype=torch.bool),
        num_frames=FRAMES,
        device=draws.device,
    )


def _shift(agent: DrQv2, batch: MultiStepBatch) -> None:
    given = (batch.observations, batch.next_observations)
    for observations in (*given, *given, batch.observations):
        shift_each(observations, CONFIG.encoder, agent.generator)


def _encode(agent: DrQv2, batch: MultiStepBatch) -> None:
    for _ in range(2):
        agent.encoder(batch.observations).sum().backward()
    with torch.no_grad():
        for _ in range(3):
            agent.encoder(batch.observations)


def _objective(agent: DrQv2, batch: MultiStepBatch) -> Callable[[], None]:
    """Return TACO's losses and their gradients for codes of states that are given."""
    assert agent.taco is not None
    taco = agent.taco
    codes = torch.rand(BATCH, agent.encoder.num_outputs, generator=agent.generator)

    def run() -> None:
        encoder, taco.encoder = taco.encoder, torch.nn.Identity()
        losses = taco.losses(
            codes.requires_grad_(), batch.action_sequences, codes.detach(), batch.rewards, codes
        )
        losses.total().backward()
        taco.encoder = encoder

    return run
