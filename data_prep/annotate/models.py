"""From the command line's options to the stages with models in them; each family is asked for by naming its weights."""

from __future__ import annotations

from typing import Any

from data_prep.annotate.base import (
    CameraEstimator,
    CameraStage,
    Captioner,
    DepthEstimator,
    DepthStage,
    ObjectsStage,
    Proposer,
)
from data_prep.annotate.clips import ClipDepthStage, ClipResults, clip_results
from data_prep.annotate.settings import make
from data_prep.annotate.weights import ModelError, find_weights, model_type

RUNNING = {
    "device": "cpu",
    "precision": "float32",
    "model_batch": 1,
}  # options that all models share, and their defaults


# What each model is usually, for who asks for some of them.
USUAL = {
    "proposals": "IDEA-Research/grounding-dino-base",
    "masks": "facebook/sam-vit-base",
    "captions": "http://localhost:8000/v1 (any OpenAI-compatible server of a vision-language model)",
}


def running(spec: dict[str, Any]) -> dict[str, Any]:
    """device, precision and batch_size for every model."""
    found = {key: spec.get(key) or default for key, default in RUNNING.items()}
    return {"device": found["device"], "precision": found["precision"], "batch_size": found["model_batch"]}


def _is_depth_pro(weights: str) -> bool:
    """Whether a checkpoint is Depth Pro's, by its config.json."""

    kind = model_type(weights)
    if not kind:
        raise ModelError(f"{weights} has no readable config.json: depth models are directories in transformers' format")
    return kind == "depth_pro"


def build_depth(spec: dict[str, Any], overrides: dict[str, dict[str, str]]) -> DepthEstimator | ClipResults | None:
    """Depth Anything V2 or Depth Pro, as the checkpoint that `spec["depth"]` names says; or what a multi-view model
    wrote, megasam:DIRECTORY or vggt:DIRECTORY.
    """
    from data_prep.annotate.depth import DepthAnything, DepthSettings
    from data_prep.annotate.depth_pro import DepthPro

    weights = spec.get("depth", "")
    if not weights:
        return None
    settings = make("depth", overrides.get("depth", {}), DepthSettings, weights=weights, **running(spec))[0]
    if (clips := clip_results(weights, settings)) is not None:
        return clips
    return DepthPro(settings) if _is_depth_pro(weights) else DepthAnything(settings)


def build_camera(
    spec: dict[str, Any], overrides: dict[str, dict[str, str]], depth: DepthEstimator | ClipResults | None
) -> CameraEstimator | None:
    """The chain that `spec["camera"]` names: megasam:DIRECTORY, vggt:DIRECTORY, Depth Pro's weights, default (or
    default:DEGREES), with commas between them.
    """
    from data_prep.annotate.camera import CameraChain, DefaultCamera
    from data_prep.annotate.depth import DepthSettings
    from data_prep.annotate.depth_pro import DepthPro

    chain: list[CameraEstimator] = []
    for name in (n.strip() for n in spec.get("camera", "").split(",") if n.strip()):
        if (clips := clip_results(name)) is not None:
            chain.append(clips)
        elif name == "default" or name.startswith("default:"):
            try:
                chain.append(DefaultCamera(*(float(v) for v in name.split(":")[1:])))
            except (ValueError, TypeError):
                raise ModelError(f"camera: {name!r}: write default or default:DEGREES") from None
        elif isinstance(depth, DepthPro) and depth.settings.weights == name:
            chain.append(depth)  # one copy of the weights serves both
        elif _is_depth_pro(name):
            chain.append(
                DepthPro(make("camera", overrides.get("camera", {}), DepthSettings, weights=name, **running(spec))[0])
            )
        else:
            raise ModelError(
                f"camera: {name} is no Depth Pro checkpoint; others that know the field of view are megasam:DIRECTORY,"
                " vggt:DIRECTORY and default"
            )
    if not chain:
        return None
    return chain[0] if len(chain) == 1 else CameraChain(chain)


def build_captioner(spec: dict[str, Any], overrides: dict[str, dict[str, str]]) -> Captioner:
    """A captioner over the endpoint (an http address) or the local checkpoint that `spec["captions"]` names."""
    from data_prep.annotate.captions import CaptionSettings, ChatCaptioner
    from data_prep.annotate.chat_models import Endpoint, EndpointSettings, LocalChat, LocalChatSettings

    where, own = spec["captions"], overrides.get("captions", {})
    if where.startswith(("http://", "https://")):
        rules, endpoint = make("captions", own, CaptionSettings, EndpointSettings, url=where)
        return ChatCaptioner(Endpoint(endpoint), rules)
    rules, local = make("captions", own, CaptionSettings, LocalChatSettings, weights=where, **running(spec))
    find_weights(where)
    return ChatCaptioner(LocalChat(local), rules)


def build_objects(spec: dict[str, Any], overrides: dict[str, dict[str, str]]) -> ObjectsStage | None:
    """Proposals, masks and captions; all three or none. Raises ModelError."""
    from data_prep.annotate.detectors import DetectorSettings, OpenVocabulary
    from data_prep.annotate.masks import MaskSettings, SamMasker
    from data_prep.annotate.proposals import ProposalSettings, RpnProposer

    missing = [name for name in ("proposals", "masks", "captions") if not spec.get(name)]
    if len(missing) == 3:
        return None
    if missing:
        usual = "; ".join(f"--{name}={USUAL[name]}" for name in missing)
        raise ModelError(
            f"objects need --proposals, --masks and --captions together; missing, with what is usual: {usual}"
        )
    common = running(spec)
    own: dict[str, Any] = overrides.get("proposals", {})
    proposer: Proposer
    if model_type(spec["proposals"]):
        proposer = OpenVocabulary(make("proposals", own, DetectorSettings, weights=spec["proposals"], **common)[0])
    else:
        proposer = RpnProposer(make("proposals", own, ProposalSettings, weights=spec["proposals"], **common)[0])
    masker = SamMasker(make("masks", overrides.get("masks", {}), MaskSettings, weights=spec["masks"], **common)[0])
    return ObjectsStage(proposer, masker, build_captioner(spec, overrides))


def _depth_stage(depth: DepthEstimator | ClipResults | None) -> DepthStage | None:
    if isinstance(depth, ClipResults):
        return ClipDepthStage(depth)
    return DepthStage(depth) if depth else None


def build_model_stages(spec: dict[str, Any], overrides: dict[str, dict[str, str]]) -> list[Any]:
    """Depth, camera and objects stages of those models that the spec names, in this order. Raises ModelError,
    SourceError.
    """
    depth = build_depth(spec, overrides)
    camera = build_camera(spec, overrides, depth)
    objects = build_objects(spec, overrides)
    return [
        stage for stage in (_depth_stage(depth), CameraStage(camera) if camera else None, objects) if stage is not None
    ]
