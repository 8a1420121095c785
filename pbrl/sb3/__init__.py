"""Preferences for stable-baselines3: any of its algorithms trains on a learned reward."""

from pbrl.sb3.callback import FeedbackCallback
from pbrl.sb3.gymnasium_vec_env import GymnasiumVecEnv
from pbrl.sb3.learning import PreferenceLearning, preference_learning
from pbrl.sb3.preference_vec_env import PreferenceVecEnv
from pbrl.sb3.replay_buffer import RelabellingReplayBuffer

__all__ = [
    "FeedbackCallback",
    "GymnasiumVecEnv",
    "PreferenceLearning",
    "PreferenceVecEnv",
    "RelabellingReplayBuffer",
    "preference_learning",
]
