"""Hypothesis without a deadline a case: a busy host is no failure (linear time is tested by processor time)."""

from hypothesis import settings

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
