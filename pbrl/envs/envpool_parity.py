"""Which tasks of EnvPool were measured to be the official ones, and what was found for the rest.

Measured with envpool 1.2.5 (which holds MuJoCo 3.6.0) against gymnasium 1.4.0, dm_control 1.0.28
and metaworld 3.1.1 on mujoco 3.3.0; `tests/envs/test_envpool_parity.py` repeats it. The two get the
same start and the same actions:

- Gymnasium: largest error of an observation (relative) and of a reward over 25 random actions, four
  starts. At most 3e-3 and 4e-4 (HalfCheetah, in contact with the floor), elsewhere below 2e-6.
- Control suite: the same, median of four starts, below 1e-4 and 1e-5; besides, rewards of 8 states
  visited by random linear policies, the highest rewards among them (at least 3 for the humanoid):
  below 1e-6.
- Meta-World: noisy scripted policies; nine of ten rewards within 5 % and equal success while both
  are within 3 mm of each other, for at least 5 steps from the start in half of 6 episodes, two
  after one another; and the distributions of return and of steps with success over 20 episodes
  (Kolmogorov-Smirnov, p above 0.01). Rewards of most tasks agree to 1e-6 until the gripper
  touches something; from there on the two versions of MuJoCo part by millimetres.
"""

AGREES: dict[str, frozenset[str]] = {
    "gym": frozenset(
        {
            "HalfCheetah-v5",
            "InvertedDoublePendulum-v5",
            "InvertedPendulum-v5",
            "MountainCarContinuous-v0",
            "Pendulum-v1",
            "Pusher-v5",
            "Reacher-v5",
            "Swimmer-v5",
            "Walker2d-v5",
        }
    ),
    "dmc": frozenset(
        {
            "acrobot-swingup",
            "acrobot-swingup_sparse",
            "cartpole-balance",
            "cartpole-balance_sparse",
            "cartpole-swingup",
            "cartpole-swingup_sparse",
            "cartpole-three_poles",
            "cartpole-two_poles",
            "cheetah-run",
            "finger-spin",
            "finger-turn_easy",
            "finger-turn_hard",
            "hopper-hop",
            "hopper-stand",
            "humanoid-run",
            "humanoid-run_pure_state",
            "humanoid-stand",
            "humanoid-walk",
            "pendulum-swingup",
            "point_mass-easy",
            "reacher-easy",
            "reacher-hard",
            "swimmer-swimmer15",
            "swimmer-swimmer6",
            "walker-run",
            "walker-stand",
            "walker-walk",
        }
    ),
    "metaworld": frozenset(
        {
            "assembly-v3",
            "basketball-v3",
            "bin-picking-v3",
            "box-close-v3",
            "button-press-topdown-v3",
            "button-press-v3",
            "button-press-wall-v3",
            "coffee-button-v3",
            "coffee-pull-v3",
            "coffee-push-v3",
            "door-unlock-v3",
            "drawer-close-v3",
            "drawer-open-v3",
            "faucet-close-v3",
            "faucet-open-v3",
            "handle-press-side-v3",
            "handle-pull-side-v3",
            "handle-pull-v3",
            "peg-insert-side-v3",
            "peg-unplug-side-v3",
            "pick-out-of-hole-v3",
            "pick-place-wall-v3",
            "plate-slide-back-side-v3",
            "plate-slide-back-v3",
            "plate-slide-side-v3",
            "plate-slide-v3",
            "push-v3",
            "push-wall-v3",
            "reach-v3",
            "reach-wall-v3",
            "stick-pull-v3",
            # Official first observations show the window where it was before it was moved.
            "window-close-v3",
            "window-open-v3",
        }
    ),
}

_CONTACT = "after the first contact velocities jump elsewhere: relative error {} within 25 steps"
# Random actions return alike on both (30 episodes of 150 steps, Kolmogorov-Smirnov, p above 0.01).
_UNSEEN = "starts not compared: its state does not follow from its observation"
_DRAWN = "starts not compared: its model is drawn at random"
_NO_REWARD = "starts not compared: no simple policy earns a reward"
_GRASP_REWARD = "the part of the reward for grasping differs: {} against {} in the first step"

# Tasks that `backend="auto"` leaves to the official package, and why.
DIFFERS: dict[str, str] = {
    "gym/Ant-v5": _CONTACT.format(0.9),
    "gym/Hopper-v5": _CONTACT.format(0.04),
    "gym/Humanoid-v5": _CONTACT.format(5),
    "gym/HumanoidStandup-v5": _CONTACT.format(30),
    "dmc/ball_in_cup-catch": "rewards the ball up to 4 cm from the cup's centre, not 2.5 cm",
    "dmc/fish-swim": "observations part by 1 % in 25 steps",
    "dmc/fish-upright": "observations part by 4 %, rewards by 0.05 in 25 steps",
    "dmc/lqr-lqr_2_1": _DRAWN,
    "dmc/lqr-lqr_6_2": _DRAWN,
    "dmc/point_mass-hard": _DRAWN,
    "dmc/humanoid_CMU-run": "rewards part by 3e-4 in 25 steps",
    "dmc/humanoid_CMU-stand": "rewards part by 7e-4 in 25 steps",
    "dmc/humanoid_CMU-walk": "starts not compared: run and stand, the same body, part in 25 steps",
    **{f"dmc/quadruped-{task}": _UNSEEN for task in ("escape", "fetch", "run", "walk")},
    **{f"dmc/dog-{task}": _UNSEEN for task in ("fetch", "run", "stand", "trot", "walk")},
    **{f"dmc/stacker-{task}": _NO_REWARD for task in ("stack_2", "stack_4")},
    **{
        f"dmc/manipulator-{task}": _NO_REWARD
        for task in ("bring_ball", "bring_peg", "insert_ball", "insert_peg")
    },
    "metaworld/button-press-topdown-wall-v3": "the reward is 0 nearly everywhere: a solved episode "
    "returns 0.0, officially 2097",
    "metaworld/dial-turn-v3": "the scripted policy succeeds in 0 of 20 episodes, officially in 20",
    "metaworld/disassemble-v3": "only 2 of 6 starts could be compared",
    "metaworld/door-close-v3": "the door moves otherwise from the first step on, 3 cm within 5",
    "metaworld/door-lock-v3": _GRASP_REWARD.format(2.73, 1.42),
    "metaworld/door-open-v3": "147 steps with success for 31 officially, of 250",
    "metaworld/hammer-v3": "the nail moves by 0.24 m and 0.85 m at every reset, the goal with it",
    "metaworld/hand-insert-v3": "the object settles otherwise: 7 mm within 10 steps",
    "metaworld/handle-press-v3": "returns of the scripted policy differ, p = 0.001",
    "metaworld/lever-pull-v3": "shows another orientation of the lever",
    "metaworld/pick-place-v3": _GRASP_REWARD.format(0.040, 0.023),
    "metaworld/push-back-v3": _GRASP_REWARD.format(0.035, 0.012),
    "metaworld/shelf-place-v3": "the shelf moves away at every reset, the goal with it",
    "metaworld/soccer-v3": _GRASP_REWARD.format(0.15, 0.08),
    "metaworld/stick-push-v3": "56 steps with success for 87 officially, p = 0.0001",
    "metaworld/sweep-into-v3": "the part of the reward for grasping differs, by a half and more",
    "metaworld/sweep-v3": _GRASP_REWARD.format(0.31, 0.18),
}
