"""Property tests take the same examples on every machine, fast or slow."""

import hypothesis

hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.load_profile("same")
