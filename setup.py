"""spatial_jax: spatial reasoning for vision-language models, from pictures to policies, on JAX and TPU."""

from pathlib import Path

from setuptools import find_packages, setup

# The compiler for NVIDIA's cards, for machines without one. There are wheels for Linux alone.
GPU_COMPILER = [
    f"{name}; sys_platform == 'linux'"
    for name in (
        "jax-cuda12-plugin>=0.10,<0.11",
        "jax-cuda12-pjrt>=0.10,<0.11",
        "nvidia-cuda-nvcc-cu12>=12.6",
        "nvidia-cuda-runtime-cu12>=12.6",
    )
]

EXTRAS = {
    "tpu": ["jax[tpu]>=0.10,<0.11"],
    "cuda": ["jax[cuda12]>=0.10,<0.11"],
    # launch/plan.py --topology=h100:1; programs with prompts from 512 tokens on take cuDNN (1.3 GB with cuBLAS).
    "plan-gpu": [*GPU_COMPILER, "nvidia-cudnn-cu12>=9.8", "nvidia-cublas-cu12>=12.6"],
    # Beside "test": what the suite compiles for a GPU takes no cuDNN.
    "test-gpu": GPU_COMPILER,
    # Offline annotation (PyTorch) and the pictures the quickstart learns from.
    "prep": [
        "torch>=2.4",
        "segment-anything>=1.0",
        "ray[data]>=2.40",
        "scikit-image>=0.24",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "av>=12",
        "h5py>=3.10",
        "lz4>=4.3",
        "pyarrow>=15",
        "timm>=1.0",
    ],
    # Sinks of metrics beside TensorBoard's (config.log.sinks)
    "wandb": ["wandb>=0.19"],
    "trackio": ["trackio>=0.10"],
    # The site of docs/: make docs
    "docs": ["mkdocs-material>=9.5", "mkdocs>=1.6"],
    # The notebooks of docs/notebooks: python docs/run_notebooks.py
    "notebooks": ["nbclient>=0.10", "nbformat>=5.10", "ipykernel>=6"],
    # gs:// paths outside Google's own machines
    "gcs": ["gcsfs>=2024.6"],
    "eval": ["pyarrow>=15", "pandas>=2.1", "av>=12"],
    "bench": ["torch>=2.4", "trl>=1.16", "datasets>=2.18", "accelerate>=1.0"],
    "test": [
        "pytest>=8",
        "pytest-xdist>=3.5",
        "hypothesis>=6.100",
        "ruff>=0.6",
        "mypy>=2.4",
        "torch>=2.4",
        "trl>=1.16",
        "datasets>=2.18",
        "accelerate>=1.0",
        "libtpu",
    ],
}

setup(
    name="spatial_jax",
    version="0.1.0",
    description=__doc__,
    long_description=(
        Path(__file__).with_name("README.md").read_text() if Path(__file__).with_name("README.md").exists() else ""
    ),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["spatial_jax*", "data_prep*", "configs*", "launch*"]),
    include_package_data=True,
    package_data={
        "spatial_jax": ["py.typed"],
        "configs": ["quickstart_policy/*", "drawing_policy/*"],
        "": ["*.html", "*.css", "*.js", "*.json", "*.safetensors"],
    },
    entry_points={"console_scripts": ["spatial-jax = launch.cli:main"]},
    install_requires=[
        "jax>=0.10,<0.11",
        "flax>=0.12",
        "optax>=0.2.5",
        "orbax-checkpoint>=0.12",
        "grain>=0.2.15",
        "array_record>=0.8",
        "transformers>=5.0",
        "tokenizers>=0.22",
        "safetensors>=0.5",
        "tensorflow-datasets>=4.9.9",
        "ml_collections>=1.0",
        "numpy>=2.0",
        "pillow>=10.4",
        "cykooz-resizer>=4.0; sys_platform != 'linux' or platform_machine == 'x86_64'",  # else PIL
        "absl-py>=2.1",
        "etils[epath]>=1.9",
        "jaxtyping>=0.2.34",
        "tensorboardX>=2.6",
        "jinja2>=3.1.6",
    ],
    extras_require=EXTRAS,
)
