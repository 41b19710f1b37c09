"""Pages, metrics and the report verb start without JAX, torch or TensorFlow."""

import subprocess
import sys


def test_no_heavy_import():
    code = (
        "import sys, spatial_jax.pages, spatial_jax.metrics, spatial_jax.report\n"
        "print([m for m in ('jax', 'torch', 'tensorflow', 'tensorflow_datasets', 'tensorboardX') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
