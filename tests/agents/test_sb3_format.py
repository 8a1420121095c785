import base64
import io
import json
import pickle
import zipfile

import numpy as np
import pytest
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

from pbrl.agents.sac import SAC, SACConfig
from pbrl.agents.sb3_format import _SpacesOnly, from_sb3, to_sb3

OBS, ACT = 5, 2
OBSERVATION_SPACE = spaces.Box(-np.inf, np.inf, (OBS,), np.float32)
ACTION_SPACE = spaces.Box(-1.0, 1.0, (ACT,), np.float32)
SPACES = (OBSERVATION_SPACE, ACTION_SPACE)
OBSERVATIONS = torch.randn(20, OBS, generator=torch.Generator().manual_seed(1))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def make_agent(**config) -> SAC:
    config = {
        "hidden_sizes": (16, 8),
        "log_std_mode": "clamp",
        "log_std_bounds": (-20.0, 2.0),
        **config,
    }
    return SAC(SACConfig(**config), OBS, ACT, generator=generator())


def make_model(env=None, **settings) -> stable_baselines3.SAC:
    settings = {"policy_kwargs": {"net_arch": [16, 8]}, "seed": 0, "device": "cpu", **settings}
    env = _SpacesOnly(*SPACES) if env is None else env
    model = stable_baselines3.SAC("MlpPolicy", env, buffer_size=10, **settings)
    with torch.no_grad():  # biases and targets that differ from their initial values
        for parameter in model.policy.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


def assert_same(agent: SAC, model: stable_baselines3.SAC) -> None:
    """Compare actions, distributions, critics, targets and temperature."""
    actions = agent.act(OBSERVATIONS, deterministic=True)
    theirs, _ = model.predict(OBSERVATIONS.numpy(), deterministic=True)
    torch.testing.assert_close(actions, torch.from_numpy(theirs), rtol=0, atol=1e-6)
    mean, log_std, _ = model.actor.get_action_dist_params(OBSERVATIONS)
    ours = agent.actor(OBSERVATIONS)
    torch.testing.assert_close(ours, (mean, log_std))
    inputs = torch.cat([OBSERVATIONS, actions], -1).unsqueeze(0)
    for critic, other in (
        (agent.critic, model.critic),
        (agent.target_critic, model.critic_target),
    ):
        expected = torch.stack(other(OBSERVATIONS, actions))
        torch.testing.assert_close(critic(inputs), expected)
    torch.testing.assert_close(agent.temperature, model.log_ent_coef.exp().squeeze())


def test_an_agent_becomes_a_model_that_acts_alike():
    agent = make_agent(initial_temperature=0.3)
    with torch.no_grad():
        agent.log_temperature.add_(0.5)
    model = to_sb3(agent, SPACES, buffer_size=10)
    assert_same(agent, model)
    assert (model.gamma, model.tau, model.target_entropy) == (0.99, 0.005, -ACT)


def test_a_model_becomes_an_agent_that_acts_alike():
    model = make_model(gamma=0.9, tau=0.01, learning_rate=1e-3, ent_coef="auto_0.2")
    agent = from_sb3(model, generator=generator())
    assert_same(agent, model)
    config = agent.config
    assert (config.hidden_sizes, config.discount, config.target_rate) == ((16, 8), 0.9, 0.01)
    assert (config.actor_lr, config.temperature_lr) == (1e-3, 1e-3)
    assert (config.initial_temperature, config.target_update_every) == (0.2, 1)


def test_a_saved_model_goes_round(tmp_path):
    agent = make_agent(betas=(0.8, 0.99))
    to_sb3(agent, SPACES, buffer_size=10).save(tmp_path / "model")
    back = from_sb3(tmp_path / "model.zip", generator=generator())
    assert torch.equal(
        back.act(OBSERVATIONS, deterministic=True), agent.act(OBSERVATIONS, deterministic=True)
    )
    assert back.config.betas == (0.8, 0.99)
    assert_same(back, stable_baselines3.SAC.load(tmp_path / "model.zip"))


def test_a_fixed_temperature_stays_fixed(tmp_path):
    make_model(ent_coef=0.07).save(tmp_path / "model")
    agent = from_sb3(tmp_path / "model.zip", generator=generator())
    torch.testing.assert_close(agent.temperature.detach(), torch.tensor(0.07))
    assert agent.config.temperature_lr == 0.0
    assert to_sb3(agent, SPACES, buffer_size=10).ent_coef == pytest.approx(0.07)


def test_actions_are_those_before_scaling_to_the_action_space():
    env = _SpacesOnly(OBSERVATION_SPACE, spaces.Box(-2.0, 2.0, (ACT,), np.float32))
    model = make_model(DummyVecEnv([lambda: env]))
    agent = from_sb3(model, generator=generator())
    scaled, _ = model.predict(OBSERVATIONS.numpy(), deterministic=True)
    ours = agent.act(OBSERVATIONS, deterministic=True)
    torch.testing.assert_close(2 * ours, torch.from_numpy(scaled), rtol=0, atol=2e-6)


def test_an_imported_agent_goes_on_learning_its_own_way():
    agent = from_sb3(make_model(), generator=generator(), discount=0.5)
    assert agent.config.discount == 0.5
    before = agent.act(OBSERVATIONS, deterministic=True)
    agent.update_actor(OBSERVATIONS)
    assert not torch.equal(agent.act(OBSERVATIONS, deterministic=True), before)


def test_a_rescaled_standard_deviation_is_refused_with_the_option_to_train_with():
    with pytest.raises(ValueError, match=r'train it with SACConfig\(log_std_mode="clamp"'):
        to_sb3(make_agent(log_std_mode="tanh", log_std_bounds=(-5.0, 2.0)), SPACES)
    with pytest.raises(ValueError, match="normalize_observations=False"):
        to_sb3(make_agent(normalize_observations=True), SPACES)


def test_spaces_that_do_not_fit_are_refused():
    wrong = (spaces.Box(-1.0, 1.0, (OBS + 1,)), ACTION_SPACE)
    with pytest.raises(ValueError, match=f"observation space must be a Box of {OBS} numbers"):
        to_sb3(make_agent(), wrong)
    with pytest.raises(ValueError, match=f"action space must be a Box of {ACT} numbers"):
        to_sb3(make_agent(), (OBSERVATION_SPACE, spaces.Discrete(2)))


def test_a_model_made_from_spaces_says_so_when_it_is_trained():
    model = to_sb3(make_agent(), SPACES, buffer_size=10)
    with pytest.raises(RuntimeError, match="set_env"):
        model.learn(1)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"use_sde": True}, "gSDE"),
        (
            {"policy_kwargs": {"net_arch": [16], "activation_fn": nn.Tanh}},
            "ReLU, got .*Tanh",
        ),
        ({"policy_kwargs": {"net_arch": [16], "activation_fn": nn.LeakyReLU}}, "must be ReLU"),
        ({"policy_kwargs": {"net_arch": [16], "n_critics": 3}}, "qf2"),
        ({"policy_kwargs": {"net_arch": {"pi": [16], "qf": [8]}}}, "equal widths"),
        ({"policy_kwargs": {"net_arch": []}}, "hidden layers"),
        ({"learning_rate": lambda progress: 1e-3 * progress}, "learning_rate is no number"),
    ],
)
def test_models_of_another_kind_are_refused(settings, reason, tmp_path):
    model = make_model(**settings)
    with pytest.raises(ValueError, match=reason):
        from_sb3(model, generator=generator())
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=reason):
        from_sb3(tmp_path / "model.zip", generator=generator())


def test_a_cnn_policy_is_refused():
    images = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    env = _SpacesOnly(images, ACTION_SPACE)
    model = stable_baselines3.SAC("CnnPolicy", env, buffer_size=10, device="cpu")
    with pytest.raises(ValueError, match="CNN"):
        from_sb3(model, generator=generator())


def test_integer_observations_are_refused():
    env = _SpacesOnly(spaces.Box(0, 255, (OBS,), np.uint8), ACTION_SPACE)
    with pytest.raises(ValueError, match="Box of floats"):
        from_sb3(make_model(env), generator=generator())


def test_a_schedule_of_learning_rates_can_be_replaced():
    model = make_model(learning_rate=lambda progress: 1e-3 * progress)
    rates = {"actor_lr": 1e-3, "critic_lr": 1e-3, "temperature_lr": 1e-4}
    assert from_sb3(model, generator=generator(), **rates).config.temperature_lr == 1e-4


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def rewrite(path, target, **members: bytes) -> None:
    """Copy a zip file with some members replaced."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, members.get(name, old.read(name)))


def test_nothing_pickled_in_a_file_is_run(tmp_path):
    make_model().save(tmp_path / "model")
    trace = tmp_path / "trace"
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        data = json.loads(archive.read("data"))
    payload = pickle.dumps(Payload(trace))
    for value in data.values():
        if isinstance(value, dict) and ":serialized:" in value:
            value[":serialized:"] = base64.b64encode(payload).decode()
    rewrite(tmp_path / "model.zip", tmp_path / "bad.zip", data=json.dumps(data).encode())
    from_sb3(tmp_path / "bad.zip", generator=generator())  # only text is read of these members
    stream = io.BytesIO()
    torch.save({"actor.mu.bias": Payload(trace)}, stream)
    members = {"policy.pth": stream.getvalue()}
    rewrite(tmp_path / "model.zip", tmp_path / "worse.zip", **members)
    with pytest.raises(ValueError, match="holds more than tensors"):
        from_sb3(tmp_path / "worse.zip", generator=generator())
    assert not trace.exists()


def test_files_of_another_kind_are_refused(tmp_path):
    (tmp_path / "text.zip").write_text("not a zip file")
    with pytest.raises(ValueError, match="is not a zip file"):
        from_sb3(tmp_path / "text.zip", generator=generator())
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(ValueError, match="not a model of stable-baselines3"):
        from_sb3(tmp_path / "empty.zip", generator=generator())
    env = _SpacesOnly(*SPACES)
    stable_baselines3.PPO("MlpPolicy", env, n_steps=2, batch_size=2).save(tmp_path / "ppo")
    with pytest.raises(ValueError, match="not a"):
        from_sb3(tmp_path / "ppo.zip", generator=generator())
