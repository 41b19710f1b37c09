"""Where weights come from, and how every model runs: device, precision, batch size. Weights are read as tensors only,
never as code.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data_prep.annotate.torchvision_ops import ensure
from data_prep.sources.base import BadItem, SourceError
from spatial_jax.reading import read_object

PRECISIONS = ("float32", "bfloat16", "float16")
_FILES = ["*.json", "*.safetensors", "*.pth", "*.txt", "*.model", "*.jinja"]


class ModelError(SourceError):
    """A model cannot be used at all (no weights, another architecture); the message is one line that says what to
    do.
    """


@dataclasses.dataclass
class ModelSettings:
    """Of every model. `weights`: hub name (owner/name), or a local directory or file. `batch_size` pictures at once: 1
    gives the same bits whatever the number of workers and wherever a run is resumed; more is faster on a GPU, and equal
    up to rounding.
    """

    weights: str = ""
    device: str = "cpu"
    precision: str = "float32"
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ModelError(f"precision {self.precision!r} is none of {', '.join(PRECISIONS)}")
        if self.batch_size < 1:
            raise ModelError(f"batch_size must be at least 1, not {self.batch_size}")


def identity(kind: str, settings: Any) -> dict[str, Any]:
    """JSON-ready part of a dataset's identity: every setting but those that only say where and how fast it runs."""
    return {
        "model": kind,
        **{
            k: v
            for k, v in dataclasses.asdict(settings).items()
            if k not in ("device", "batch_size", "concurrency", "timeout_s")
        },
    }


# Where files that are no hub repositories are published, by how their names begin.
PUBLISHED = {
    "fasterrcnn_": "https://download.pytorch.org/models/",
    "sam_vit_": "https://dl.fbaipublicfiles.com/segment_anything/",
}


def _where_from(path: Path) -> str:
    """What to fetch, and where to put it, for a file that is not there."""
    place = next((url for start, url in PUBLISHED.items() if path.name.startswith(start)), "")
    if place:
        return f"download {place}{path.name} to {path.parent}/"
    return "give a file, a directory or a hub name owner/name (docs/photos.md lists the models and what to download)"


def find_weights(name: str) -> Path:
    """Local file or directory of `name`; a hub name is downloaded once into the hub's cache. Raises ModelError."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or path.suffix in (".pth", ".safetensors"):
        raise ModelError(f"no weights at {name}: {_where_from(path)}")
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=_FILES))
    except Exception as error:  # the hub's client raises its own, requests' and the operating system's errors
        raise ModelError(
            f"weights {name} can be had neither here nor from the hub ({' '.join(str(error).split())[:120]}): where"
            f" there is a network run `hf download {name} --local-dir weights/{path.name}`, then name that directory"
        ) from None


def model_type(name: str) -> str:
    """What the config.json of the weights `name` calls its model, "" where there is none to read (torchvision's and
    Meta's files).
    """
    path = find_weights(name)
    try:
        return str(read_object(path / "config.json").get("model_type", "")) if path.is_dir() else ""
    except (OSError, ValueError, AttributeError):
        return ""


def read_tensors(path: Path) -> dict[str, Any]:
    """State dict of a .safetensors or .pth file, or of the one such file in a directory; pickles are read as tensors
    only. Raises ModelError.
    """
    import torch

    if path.is_dir():
        files = sorted([*path.glob("*.safetensors"), *path.glob("*.pth")])
        if len(files) != 1:
            raise ModelError(
                f"{path} holds {len(files)} weight files (.safetensors, .pth) where one is needed: name the file"
            )
        path = files[0]
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and safetensors each raise errors of their own for a damaged file
        raise ModelError(f"{path} cannot be read as weights: {' '.join(str(error).split())[:160]}") from None


def place(model: Any, settings: ModelSettings) -> Any:
    """The model in evaluation mode on its device, in its precision. Raises ModelError."""
    import torch

    try:
        return model.eval().requires_grad_(False).to(settings.device, getattr(torch, settings.precision))
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"device {settings.device} cannot hold {settings.weights}: {' '.join(str(error).split())[:160]}"
        ) from None


def from_pretrained(auto: str, settings: ModelSettings, what: str) -> tuple[Any, Path]:
    """(model, directory) through the transformers class named `auto`: safetensors, no remote code. Raises
    ModelError.
    """
    ensure()
    import transformers

    transformers.logging.set_verbosity_error()
    folder = find_weights(settings.weights)
    if (folder / "adapter_config.json").is_file():  # transformers would fetch and run the model that this file names
        raise ModelError(f"{settings.weights} holds an adapter (adapter_config.json); give the merged model for {what}")
    try:
        with _quiet():
            model = getattr(transformers, auto).from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds for wrong or damaged directories
        raise ModelError(
            f"{settings.weights} cannot be loaded for {what}: {' '.join(str(error).split())[:200]}"
        ) from None
    return place(model, settings), folder


def processor_from(auto: str, folder: Path, what: str) -> Any:
    """The processor, image processor or tokenizer beside the weights, by transformers class name. Raises ModelError."""
    import transformers

    try:
        return getattr(transformers, auto).from_pretrained(folder, trust_remote_code=False)
    except Exception as error:
        raise ModelError(
            f"{folder} has no usable {auto} files for {what}: {' '.join(str(error).split())[:160]}"
        ) from None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def _why(error: Exception) -> str:
    """What a model's failure on one picture is counted by."""
    import torch

    text = " ".join(str(error).split())
    # On the CPU PyTorch has no class of its own for it.
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in text:
        return "does not fit into the device's memory"
    return f"the model failed on it: {type(error).__name__}: {text[:120]}"


def in_batches(items: list[Any], size: int, call: Callable[[list[Any]], list[Any]]) -> list[Any]:
    """One result an item from `call`, which is given at most `size` items at once; a batch that fails or does not fit
    into the memory is halved, and an item that fails alone becomes a BadItem: the others go on. ModelError, for what no
    picture can help, is raised.
    """
    import torch

    out: list[Any] = []
    pending = [items[i : i + size] for i in range(0, len(items), size)]
    while pending:
        batch = pending.pop(0)
        try:
            with torch.inference_mode():
                out += call(batch)
        except ModelError:
            raise
        except (RuntimeError, ValueError, ArithmeticError, IndexError, MemoryError) as error:
            if len(batch) == 1:
                out.append(BadItem(_why(error)))
            else:
                pending[:0] = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
    return out
