"""The tasks there are, by name."""

from collections.abc import Mapping

from pbrl.envs.mjx.cartpole import CartpoleSwingup
from pbrl.envs.mjx.cheetah import CheetahRun
from pbrl.envs.mjx.hopper import Hopper
from pbrl.envs.mjx.quadruped import Quadruped
from pbrl.envs.mjx.reacher import Reacher
from pbrl.envs.mjx.walker import Walker
from pbrl.envs.mjx.world import Task

EPISODE_STEPS = 1000  # of every task here, as in the suite

TASKS: Mapping[str, Task] = {
    "cartpole-swingup": CartpoleSwingup(),
    "cheetah-run": CheetahRun(),
    "hopper-hop": Hopper(is_hopping=True),
    "hopper-stand": Hopper(is_hopping=False),
    "quadruped-run": Quadruped(speed=5.0),
    "quadruped-walk": Quadruped(speed=0.5),
    "reacher-easy": Reacher(target_radius=0.05),
    "reacher-hard": Reacher(target_radius=0.015),
    "walker-run": Walker(move_speed=8.0),
    "walker-stand": Walker(move_speed=0.0),
    "walker-walk": Walker(move_speed=1.0),
}
