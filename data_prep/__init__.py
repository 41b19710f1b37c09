"""Offline data preparation: pictures to scene records (`python -m data_prep.annotate`), scene records to questions
(`python -m data_prep.synthesize`, `python -m data_prep.selfsup`), and a page to look at both (`python -m
data_prep.inspect`).
"""
