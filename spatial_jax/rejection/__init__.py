"""Sample, score, keep: answers of a policy or of a teacher behind an endpoint, scored by the questions' own rewards,
and those that a rule keeps written as a dataset that SFT or DPO trains on.
"""

from spatial_jax.rejection.rules import Candidate, Rule, keep, read_rule

__all__ = ["Candidate", "Rule", "keep", "read_rule"]
