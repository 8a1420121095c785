"""Settings of every test."""

import os

# Tests run side by side: more threads each wait for one another. Programs they start inherit it.
for _library in ("OMP", "MKL", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import hypothesis  # noqa: E402  the settings above count where torch is loaded after them

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("pbrl", deadline=None)
hypothesis.settings.load_profile("pbrl")
