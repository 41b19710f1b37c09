"""Device-side operations: attention, rotary embeddings, log-probabilities, sampling. Import the file you need; nothing
is loaded here.
"""
