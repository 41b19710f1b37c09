"""Walks with known truth: furnished rooms, a camera that a person carries through them, and everything that its frames
show.
"""

from data_prep.sources.walks.source import Walks

__all__ = ["Walks"]
