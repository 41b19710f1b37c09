"""Tiny random checkpoints made by transformers, and the inputs that parity tests feed to both sides."""

from __future__ import annotations

import contextlib

import numpy as np
import torch

try:
    import torchvision  # noqa: F401
except ImportError:
    pass
except RuntimeError:
    # The published torchvision wheel wants CUDA's torch; transformers only needs its import to pass.
    _OPERATORS = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import transformers

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
VOCAB, IMAGE, VIDEO, START, END, PAD = 160, 151, 152, 153, 154, 155
_IDS = {"image_token_id": IMAGE, "video_token_id": VIDEO, "vision_start_token_id": START, "vision_end_token_id": END}
_TEXT = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": PAD,
}


def hf_config(family: str, tied: bool = False):
    """A transformers config with several windows, full blocks in between, grouped heads."""
    if family == "qwen3_vl":
        text = {**_TEXT, "head_dim": 24}
        text["rope_parameters"] = {
            "rope_type": "default",
            "rope_theta": 5e6,
            "mrope_section": [4, 4, 4],
            "mrope_interleaved": True,
        }
        vision = {
            "depth": 4,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "patch_size": 4,
            "out_hidden_size": 64,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 2],
            "hidden_act": "gelu_pytorch_tanh",
        }
        return transformers.Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=tied, **_IDS)
    text = {**_TEXT, "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}}
    if family == "qwen2_vl":
        vision = {"depth": 3, "embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2, "num_heads": 2, "patch_size": 4}
        return transformers.Qwen2VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=tied, **_IDS)
    vision = {
        "depth": 6,
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_heads": 2,
        "patch_size": 4,
        "out_hidden_size": 64,
        "window_size": 16,
        "fullatt_block_indexes": [2, 5],
        "tokens_per_second": 2,
        "hidden_act": "silu",
    }
    return transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=tied, **_IDS)


def hf_class(family: str):
    return {
        "qwen2_vl": transformers.Qwen2VLForConditionalGeneration,
        "qwen2_5_vl": transformers.Qwen2_5_VLForConditionalGeneration,
        "qwen3_vl": transformers.Qwen3VLForConditionalGeneration,
    }[family]


def make(directory, family: str, tied: bool = False, seed: int = 0, config=None):
    """Writes a random checkpoint to `directory`; weights scaled so that logits have a standard deviation of about 3.
    Returns the torch model.
    """
    torch.manual_seed(seed)
    model = hf_class(family)(config or hf_config(family, tied)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape)
            if parameter.ndim == 1:
                parameter.copy_(noise * 0.1 + (0.0 if name.endswith("bias") else 1.0))
            elif "embed" in name and "patch" not in name:
                parameter.copy_(noise * (0.4 if tied else 1.0))
            elif name.endswith("lm_head.weight"):
                parameter.copy_(noise * 3 / parameter.shape[1] ** 0.5)
            else:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
        model.tie_weights()
    if directory is not None:
        model.save_pretrained(directory)
    return model


def _row(rng, config, pieces):
    """Token ids of one row. pieces: an int n (n random text tokens), ("image", grid) or ("video", grid)."""
    merge = config.vision_config.spatial_merge_size
    ids: list[int] = []
    for piece in pieces:
        if isinstance(piece, int):
            ids += rng.integers(2, 150, piece).tolist()
            continue
        kind, (t, h, w) = piece
        count = h * w // merge**2
        token = IMAGE if kind == "image" else VIDEO
        frames = [count] * t if kind == "video" and config.model_type == "qwen3_vl" else [t * count]
        for n in frames:
            ids += [START] + [token] * n + [END]
            if len(frames) > 1:
                ids += rng.integers(2, 150, 2).tolist()
    return ids


def make_inputs(config, rows, side: str = "left", seed: int = 0, seconds: float = 1.0) -> dict[str, np.ndarray]:
    """What a processor would return for rows of pieces, padded on `side`."""
    rng = np.random.default_rng(seed)
    vision = config.vision_config
    sequences = [_row(rng, config, pieces) for pieces in rows]
    longest = max(map(len, sequences))
    ids = np.full((len(rows), longest), PAD, np.int64)
    mask = np.zeros((len(rows), longest), np.int64)
    for i, sequence in enumerate(sequences):
        where = slice(longest - len(sequence), None) if side == "left" else slice(0, len(sequence))
        ids[i, where], mask[i, where] = sequence, 1
    out = {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": (ids == IMAGE) * 1 + (ids == VIDEO) * 2}
    width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    for kind, pixels, name in (
        ("image", "pixel_values", "image_grid_thw"),
        ("video", "pixel_values_videos", "video_grid_thw"),
    ):
        grids = [p[1] for pieces in rows for p in pieces if isinstance(p, tuple) and p[0] == kind]
        if grids:
            out[name] = np.array(grids, np.int64)
            out[pixels] = rng.standard_normal((int(np.prod(grids, axis=1).sum()), width)).astype(np.float32)
            if kind == "video" and config.model_type == "qwen2_5_vl":
                out["second_per_grid_ts"] = np.full(len(grids), seconds, np.float32)
    return out


CASES = {
    "text": [[9]],
    "one_image": [[3, ("image", (1, 6, 10)), 5]],
    "two_images": [[3, ("image", (1, 6, 10)), 2, ("image", (1, 12, 4)), 5]],
    "video": [[3, ("video", (3, 4, 6)), 5]],
    "mixed": [
        [4],
        [2, ("image", (1, 8, 8)), 3, ("video", (2, 6, 4)), 4],
        [3, ("video", (2, 4, 4)), 1, ("image", (1, 2, 2)), 7],
    ],
}


def to_torch(inputs: dict[str, np.ndarray]) -> dict:
    return {key: torch.from_numpy(value) for key, value in inputs.items()}


@contextlib.contextmanager
def float64_torch():
    """Inside, transformers computes in float64 throughout: also where its code asks for float32 (norms, angles,
    softmax).
    """
    saved = torch.float32, torch.float, torch.Tensor.float, torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = saved[:3]
        torch.set_default_dtype(saved[3])


def float64_logits(model, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The model's logits in float64 throughout, from the same weights."""
    weights = {key: value.double() for key, value in model.state_dict().items()}
    with float64_torch(), torch.no_grad():
        twin = type(model)(type(model.config).from_dict(model.config.to_dict())).eval()
        twin.load_state_dict(weights)
        tensors = {
            key: value.double() if value.is_floating_point() else value for key, value in to_torch(inputs).items()
        }
        return twin(**tensors).logits.numpy()
