"""What holds for every test."""

from hypothesis import HealthCheck, settings

# No test asserts wall-clock time: a busy machine is no failure.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
