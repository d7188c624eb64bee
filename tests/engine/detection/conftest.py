"""Settings of the property tests in this folder."""

from hypothesis import settings

# The first call into torch is slow, and a busy machine makes any call slow.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
