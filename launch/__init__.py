"""Starting things: quickstart, proofs, TPU runs, sweeps, plans."""
