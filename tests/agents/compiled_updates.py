"""Compares compiled updates with eager ones; a program, as the compiler cannot see through checks.

Tests check the shapes of all arguments, by functions around ours that the compiler stumbles over.
"""

import sys

import torch

from pbrl.agents.recorded import make_update
from tests.agents.updates import make_case

NUM_UPDATES = 6
TOLERANCE = 1e-4


def main(backend: str, device: str, names: list[str]) -> None:
    """Compare some methods on a device, and print the names of those that agree."""
    compile_ = torch.compile
    torch.compile = lambda update: compile_(update, backend=backend)
    for name in names:
        torch.compiler.reset()
        (eager, batch), (agent, _) = make_case(name, device), make_case(name, device)
        compiled = make_update(agent, "compiled")
        for step in range(NUM_UPDATES):
            found, expected = compiled(batch(step)), eager.update(batch(step))
            torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=TOLERANCE)
        states = agent.state_dict(), eager.state_dict()
        torch.testing.assert_close(*states, rtol=TOLERANCE, atol=TOLERANCE)
        print(name)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
