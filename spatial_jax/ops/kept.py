"""The name by which policies of recomputation know what attention puts out: kept, it is not computed again."""

# What an attention of the decoder puts out, and what its backward pass needs beside that, go by this name. It is given
# inside a kernel's own gradient; given outside, the kernel would run again.
KEPT = "attention"
