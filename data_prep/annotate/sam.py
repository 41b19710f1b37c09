"""Segment Anything from its own files (segment-anything's .pth, or the same tensors as .safetensors) or from
transformers' directories.

Both are seen through one small class: an embedding a picture, then mask logits for boxes on it. The architecture is
read off the tensors.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import Any

import numpy as np

from data_prep.annotate.torchvision_ops import ensure
from data_prep.annotate.weights import ModelError, ModelSettings, find_weights, from_pretrained, place, read_tensors

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
THRESHOLD = 0.0  # of the logits


def _original(tensors: dict[str, Any]) -> Any:
    """segment_anything's Sam of the sizes that its state dict shows. Raises KeyError where it is no such state dict."""
    ensure()
    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    grid, width = tensors["image_encoder.pos_embed"].shape[1], tensors["image_encoder.pos_embed"].shape[3]
    patch = tensors["image_encoder.patch_embed.proj.weight"].shape[-1]
    positions = [
        tensors[key].shape
        for key in sorted(
            (k for k in tensors if re.fullmatch(r"image_encoder\.blocks\.\d+\.attn\.rel_pos_h", k)),
            key=lambda k: int(k.split(".")[2]),
        )
    ]
    spans = [(rows + 1) // 2 for rows, _ in positions]
    windows = {s for s in spans if s != grid}
    prompt = tensors["image_encoder.neck.0.weight"].shape[0]
    hidden = [
        t.shape[0]
        for k, t in tensors.items()
        if re.fullmatch(r"mask_decoder\.transformer\.layers\.\d+\.mlp\.lin1\.weight", k)
    ]
    encoder = ImageEncoderViT(
        img_size=grid * patch,
        patch_size=patch,
        embed_dim=width,
        depth=len(spans),
        num_heads=width // positions[0][1],
        mlp_ratio=tensors["image_encoder.blocks.0.mlp.lin1.weight"].shape[0] / width,
        out_chans=prompt,
        qkv_bias=True,
        norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=min(windows, default=0),
        global_attn_indexes=tuple(i for i, s in enumerate(spans) if s == grid),
    )
    sam = Sam(
        encoder,
        PromptEncoder(
            prompt, (grid, grid), (grid * patch,) * 2, tensors["prompt_encoder.mask_downscaling.3.weight"].shape[0]
        ),
        MaskDecoder(
            transformer_dim=prompt,
            transformer=TwoWayTransformer(len(hidden), prompt, num_heads=8, mlp_dim=hidden[0]),
            num_multimask_outputs=tensors["mask_decoder.mask_tokens.weight"].shape[0] - 1,
            iou_head_hidden_dim=tensors["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0],
        ),
    )
    sam.load_state_dict(tensors, strict=True)
    return sam


class SegmentAnything:
    """`embed` pictures, then `logits` of boxes on one of them."""

    def __init__(self, settings: ModelSettings):
        import torch

        # Only the picture's tower runs in reduced precision: coordinates of boxes would lose their pixels in it, and it
        # is where the time goes.
        self.settings, whole = settings, dataclasses.replace(settings, precision="float32")
        path = find_weights(settings.weights)
        self.published = path.is_dir() and (path / "config.json").exists()
        if self.published:
            self.model, _ = from_pretrained("SamModel", whole, "masks")
            self.model.vision_encoder.to(getattr(torch, settings.precision))
            self.side = self.model.config.vision_config.image_size
            return
        try:
            self.model = place(_original(read_tensors(path)), whole)
            self.model.image_encoder.to(getattr(torch, settings.precision))
        except (KeyError, IndexError, RuntimeError) as error:
            raise ModelError(
                f"masks: {path} holds no Segment Anything weights: {' '.join(str(error).split())[:160]}"
            ) from None
        self.side = self.model.image_encoder.img_size

    def _scaled_size(self, height: int, width: int) -> tuple[int, int]:
        scale = self.side / max(height, width)
        return int(height * scale + 0.5), int(width * scale + 0.5)

    def embed(self, pictures: list[np.ndarray]) -> Any:
        """Embeddings [n, c, g, g]: longer side resized to the model's, normalised, padded below and to the right."""
        import torch
        import torch.nn.functional as F

        canvas = torch.zeros(len(pictures), 3, self.side, self.side)
        for row, picture in zip(canvas, pictures):
            size = self._scaled_size(*picture.shape[:2])
            tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
            small = F.interpolate(tensor, size, mode="bilinear", align_corners=False, antialias=True)[0].round()
            row[:, : size[0], : size[1]] = (small - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[
                :, None, None
            ]
        canvas = canvas.to(self.settings.device, getattr(torch, self.settings.precision))
        return (self.model.get_image_embeddings(canvas) if self.published else self.model.image_encoder(canvas)).float()

    def logits(self, embedding: Any, boxes: np.ndarray, height: int, width: int) -> tuple[Any, np.ndarray]:
        """(mask logits [n, height, width] float32 on the device, predicted IoU [n]) of boxes [n, 4] in pixels of the
        picture.
        """
        import torch
        import torch.nn.functional as F

        size = self._scaled_size(height, width)
        scaled = torch.as_tensor(
            boxes * np.array([size[1] / width, size[0] / height] * 2), dtype=embedding.dtype, device=embedding.device
        )
        if self.published:
            # transformers' model takes boxes in the pixels of its own input
            out = self.model(image_embeddings=embedding[None], input_boxes=scaled[None], multimask_output=False)
            low, quality = out.pred_masks[0], out.iou_scores[0]
        else:
            sparse, dense = self.model.prompt_encoder(points=None, boxes=scaled, masks=None)
            low, quality = self.model.mask_decoder(
                image_embeddings=embedding[None],
                image_pe=self.model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
        whole = F.interpolate(low.float(), (self.side, self.side), mode="bilinear", align_corners=False)[
            ..., : size[0], : size[1]
        ]
        return (
            F.interpolate(whole, (height, width), mode="bilinear", align_corners=False)[:, 0],
            quality.float().reshape(-1).cpu().numpy(),
        )
