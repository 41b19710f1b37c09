"""Tiny random checkpoints of every annotation model, made by the libraries themselves and saved as users have them on
disk.
"""

from __future__ import annotations

import json

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from data_prep.annotate.torchvision_ops import ensure

ensure()
transformers.logging.set_verbosity_error()

_DINO = {"model_type": "dinov2", "num_hidden_layers": 4, "hidden_size": 16, "num_attention_heads": 2, "mlp_ratio": 2}


def rpn(folder):
    """torchvision's smallest Faster R-CNN as a .pth of its state dict."""
    from torchvision.models import detection

    torch.manual_seed(0)
    model = detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None, num_classes=2)
    with torch.no_grad():
        model.rpn.head.cls_logits.weight.normal_(std=0.3)  # so that scores differ
        model.rpn.head.bbox_pred.weight.zero_()  # proposals are the anchors
    path = folder / "fasterrcnn_mobilenet_v3_large_320_fpn-tiny.pth"
    torch.save(model.state_dict(), path)
    return path


def sam(path):
    """segment_anything's Sam, small, in the layout of its published .pth files."""
    from functools import partial

    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(1)
    encoder = ImageEncoderViT(
        img_size=128,
        embed_dim=32,
        depth=3,
        num_heads=2,
        mlp_ratio=2,
        out_chans=32,
        qkv_bias=True,
        use_rel_pos=True,
        window_size=3,
        global_attn_indexes=(2,),
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
    )
    model = Sam(
        encoder,
        PromptEncoder(32, (8, 8), (128, 128), 4),
        MaskDecoder(transformer_dim=32, transformer=TwoWayTransformer(2, 32, 8, 64), iou_head_hidden_dim=32),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)
    torch.save(model.state_dict(), path)
    return path


def sam_transformers(folder):
    """The same architecture in transformers' format."""
    torch.manual_seed(1)
    vision = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 128,
        "patch_size": 16,
        "output_channels": 32,
        "window_size": 3,
        "global_attn_indexes": [1],
        "mlp_dim": 64,
        "num_pos_feats": 16,
    }
    prompt = {"hidden_size": 32, "image_size": 128, "patch_size": 16, "mask_input_channels": 4}
    decoder = {"hidden_size": 32, "mlp_dim": 64, "num_attention_heads": 4, "iou_head_hidden_dim": 32}
    transformers.SamModel(
        transformers.SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    ).save_pretrained(folder)
    return folder


def depth_anything(folder, kind="metric"):
    """Depth Anything V2; `kind` metric (up to 20) or relative."""
    torch.manual_seed(2)
    backbone = {
        **_DINO,
        "image_size": 28,
        "patch_size": 14,
        "out_indices": [1, 2, 3, 4],
        "reshape_hidden_states": False,
        "apply_layernorm": True,
    }
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=kind,
        max_depth=20 if kind == "metric" else 1,
    )
    model = transformers.DepthAnythingForDepthEstimation(config)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.uniform_(-0.2, 0.4)
    model.save_pretrained(folder)
    transformers.DPTImageProcessor(
        size={"height": 56, "width": 56},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        do_rescale=True,
        do_normalize=True,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)
    return folder


def depth_pro(folder, view=60.0, with_view=True):
    """Depth Pro; its field-of-view head answers about `view` degrees."""
    torch.manual_seed(3)
    dino = {**_DINO, "num_hidden_layers": 2, "image_size": 16, "patch_size": 4}
    config = transformers.DepthProConfig(
        patch_size=16,
        fusion_hidden_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.2],
        scaled_images_feature_dims=[12, 12],
        use_fov_model=with_view,
        image_model_config=dict(dino),
        patch_model_config=dict(dino),
        fov_model_config=dict(dino),
    )
    model = transformers.DepthProForDepthEstimation(config)
    with torch.no_grad():
        model.head.layers[-2].bias.fill_(0.3)
        if with_view:
            last = [m for m in model.fov_model.head.modules() if isinstance(m, torch.nn.Conv2d)][-1]
            last.weight.mul_(0.01)
            last.bias.fill_(view)
    model.save_pretrained(folder)
    transformers.DepthProImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def clip(folder, texts, special=("<|startoftext|>", "<|endoftext|>")):
    """CLIP with a byte-level tokenizer trained on `texts`, whose first ids are the `special` tokens."""
    torch.manual_seed(4)
    tokenizer = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=600,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
            end_of_word_suffix="</w>",
            special_tokens=list(special),
        ),
    )
    state = json.loads(tokenizer.to_str())["model"]
    text = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": len(state["vocab"]),
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
    model.save_pretrained(folder)
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in state["merges"]]
    transformers.CLIPTokenizer(vocab=state["vocab"], merges=merges, model_max_length=77).save_pretrained(folder)
    transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )
    return folder


def chat(folder):
    """Qwen2.5-VL of a few thousand parameters with all its processor's files."""
    from spatial_jax.processing import train_tokenizer

    torch.manual_seed(5)
    ids = train_tokenizer(["Describe the outlined object."] * 10, 300, folder, max_pixels=16 * 28 * 28)
    names = {
        k: ids.pop(k) for k in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    }
    text = {
        **ids,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]},
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 40,
        "num_heads": 2,
        "patch_size": 14,
        "out_hidden_size": 32,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    }
    model = transformers.Qwen2_5_VLForConditionalGeneration(
        transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **names)
    )
    model.generation_config.eos_token_id = ids["eos_token_id"]
    model.save_pretrained(folder)
    return folder


def sam2(folder):
    """SAM 2 with its image processor."""
    torch.manual_seed(6)
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 2, 2],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    }
    vision = {
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": 32,
    }
    return _segmenter(folder, "Sam2", vision, 64, 16, transformers.Sam2ImageProcessor)


def sam3(folder):
    """SAM 3's tracker, which segments what a box shows."""
    torch.manual_seed(7)
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
        "window_size": 2,
        "global_attn_indexes": [1],
        "pretrain_image_size": 28,
    }
    vision = {
        "model_type": "sam3_vision_model",
        "backbone_config": backbone,
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    }
    return _segmenter(folder, "Sam3Tracker", vision, 56, 14, transformers.Sam3ImageProcessor)


def _segmenter(folder, name, vision, side, patch, processor):
    prompt = {"hidden_size": 32, "image_size": side, "patch_size": patch, "mask_input_channels": 4}
    decoder = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
    config = getattr(transformers, f"{name}Config")(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )
    getattr(transformers, f"{name}Model")(config).save_pretrained(folder)
    processor(size={"height": side, "width": side}).save_pretrained(folder)
    return folder


def owl(folder, words):
    """OWLv2 with a tokenizer that knows `words`."""
    clip(folder / "text", words, ("!", "<|startoftext|>", "<|endoftext|>"))  # OWLv2 takes 0 for no question
    torch.manual_seed(8)
    tokenizer = transformers.CLIPTokenizer.from_pretrained(folder / "text", model_max_length=16)
    text = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 16,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
    }
    config = transformers.Owlv2Config(text_config=text, vision_config=vision, projection_dim=16)
    model = transformers.Owlv2ForObjectDetection(config)
    with torch.no_grad():
        for parameter in model.box_head.parameters():
            parameter.mul_(0.1)
    model.save_pretrained(folder)
    images = transformers.Owlv2ImageProcessor(size={"height": 64, "width": 64})
    transformers.Owlv2Processor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def grounding_dino(folder, words):
    """Grounding DINO over a tiny Swin and BERT, with a tokenizer of `words`."""
    torch.manual_seed(9)
    folder.mkdir(parents=True, exist_ok=True)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", *words]
    tokenizer = transformers.BertTokenizer(vocab={token: i for i, token in enumerate(tokens)})
    swin = {
        "model_type": "swin",
        "image_size": 64,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 4,
        "out_features": ["stage2", "stage3", "stage4"],
    }
    bert = {
        "model_type": "bert",
        "vocab_size": len(tokens),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    config = transformers.GroundingDinoConfig(
        backbone_config=swin,
        text_config=bert,
        num_queries=10,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        d_model=32,
        max_text_len=16,
    )
    transformers.GroundingDinoForObjectDetection(config).save_pretrained(folder)
    images = transformers.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    transformers.GroundingDinoProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder
