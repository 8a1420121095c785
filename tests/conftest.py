"""Settings of every test."""

import hypothesis

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("pbrl", deadline=None)
hypothesis.settings.load_profile("pbrl")
