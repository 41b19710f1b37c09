"""Every annotation model from a tiny random checkpoint of its own architecture, alone and from a folder of photos to
scenes.
"""

import json

import numpy as np
import pytest
import skimage.data
import tiny_annotators as tiny
import torch
from PIL import Image
from test_annotate_models_captions import Server, says

from data_prep.annotate.__main__ import main
from data_prep.annotate.base import CameraStage, DepthStage, Mask, Proposal, Rejected
from data_prep.annotate.build import build_pipeline
from data_prep.annotate.camera import CameraChain, DefaultCamera
from data_prep.annotate.clips import ClipResults
from data_prep.annotate.depth import DepthAnything, DepthSettings, order_from_disparity
from data_prep.annotate.depth_pro import DepthPro
from data_prep.annotate.masks import MaskSettings, SamMasker, without_overlap
from data_prep.annotate.proposals import ProposalSettings, RpnProposer
from data_prep.annotate.torchvision_ops import nms
from data_prep.annotate.weights import ModelError, ModelSettings, from_pretrained, in_batches, read_tensors
from data_prep.filters.balance import CONDITIONS, OBJECTS, SCENES, Balance, BalanceSettings
from data_prep.filters.clip import EXCLUDE, INCLUDE, ClipFilter, ClipSettings
from data_prep.pipeline import Dropped
from data_prep.sources import BadItem, Frame, SourceError

PICTURES = [skimage.data.coffee()[::2, ::2], skimage.data.chelsea()[:150, :200]]
LOOSE = {
    "least_quality": -9.0,
    "least_stability": 0.0,
    "least_box": 0.0,
    "most_area": 0.9,
    "most_overlap": 0.9,
    "most_inside": 1.1,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    return {
        "rpn": str(tiny.rpn(root)),
        "sam": str(tiny.sam(root / "sam.pth")),
        "sam_transformers": str(tiny.sam_transformers(root / "sam")),
        "metric": str(tiny.depth_anything(root / "metric")),
        "relative": str(tiny.depth_anything(root / "relative", "relative")),
        "depth_pro": str(tiny.depth_pro(root / "depth_pro")),
        "clip": str(tiny.clip(root / "clip", [*INCLUDE, *EXCLUDE])),
        "chat": str(tiny.chat(root / "chat")),
    }


def frame(rgb=PICTURES[0], **fields):
    return Frame("clip/0.png", "test", rgb, **fields)


def test_proposals_are_boxes_with_scores_in_the_pictures_pixels(weights):
    found = RpnProposer(ProposalSettings(weights=weights["rpn"], least_score=0.0, most=20)).propose(PICTURES)
    for picture, proposals in zip(PICTURES, found):
        height, width = picture.shape[:2]
        assert 2 <= len(proposals) <= 20 and sorted((p.score for p in proposals), reverse=True) == [
            p.score for p in proposals
        ]
        assert all(
            0 <= p.box[0] < p.box[2] <= width + 1e-3 and 0 <= p.box[1] < p.box[3] <= height + 1e-3 for p in proposals
        )
    with pytest.raises(ModelError, match="is named after"):
        RpnProposer(ProposalSettings(weights=weights["sam"]))


def test_suppression_equals_its_definition():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (60, 2))
    boxes = torch.tensor(np.concatenate([corner, corner + rng.uniform(0, 30, (60, 2))], 1), dtype=torch.float32)
    scores = torch.tensor(rng.uniform(size=60), dtype=torch.float32)
    low, high = (
        torch.maximum(boxes[:, None, :2], boxes[None, :, :2]),
        torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:]),
    )
    inner, area = (high - low).clamp(min=0).prod(-1), (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    iou, kept = inner / (area[:, None] + area[None] - inner), []
    for i in scores.argsort(descending=True).tolist():
        if all(iou[i, j] <= 0.4 for j in kept):
            kept.append(i)
    assert nms(boxes, scores, 0.4).tolist() == kept
    from torchvision.ops import batched_nms

    assert sorted(batched_nms(boxes, scores, torch.arange(60) % 2, 0.4).tolist()) == sorted(
        [2 * i for i in nms(boxes[::2], scores[::2], 0.4).tolist()]
        + [2 * i + 1 for i in nms(boxes[1::2], scores[1::2], 0.4).tolist()]
    )


@pytest.mark.parametrize("kind", ["sam", "sam_transformers"])
def test_masks_of_boxes(weights, kind):
    boxes = [[Proposal((20, 20, 120, 150), 0.9), Proposal((150, 40, 260, 170), 0.8)], []]
    masker = SamMasker(MaskSettings(weights=weights[kind], **LOOSE))
    found = masker.masks(PICTURES, boxes)
    assert len(found[0]) == 2 and found[1] == [] and any(isinstance(m, Mask) for m in found[0])
    for mask in found[0]:
        assert isinstance(mask, Rejected) or (
            mask.mask.shape == PICTURES[0].shape[:2] and mask.mask.dtype == bool and 0 <= mask.stability <= 1
        )
    strict = SamMasker(MaskSettings(weights=weights[kind], least_quality=1e9)).masks(PICTURES[:1], boxes[:1])[0]
    assert all(isinstance(m, Rejected) for m in strict)


def test_segment_anything_is_rebuilt_as_it_was(weights):
    """Same architecture off the tensors alone: the encoder's output equals that of the library's predictor on the same
    input.
    """
    from segment_anything.modeling import ImageEncoderViT

    model = SamMasker(MaskSettings(weights=weights["sam"])).model
    encoder = model.model.image_encoder
    assert (
        isinstance(encoder, ImageEncoderViT)
        and [b.window_size for b in encoder.blocks] == [3, 3, 0]
        and encoder.img_size == 128
    )
    assert encoder.blocks[0].attn.num_heads == 2 and model.model.mask_decoder.transformer.depth == 2


def test_overlap_rules():
    def square(x, side, score=1.0):
        mask = np.zeros((40, 80), bool)
        mask[5 : 5 + side, x : x + side] = True
        return Mask(mask, score)

    masks = [
        square(0, 20, 0.9),
        square(1, 20, 0.95),
        square(30, 30),
        square(35, 8, 0.99),
        Rejected("x"),
        square(62, 15, 0.5),
    ]
    out = without_overlap(masks, 0.5, 0.85, 2)
    assert [m.reason if isinstance(m, Rejected) else "kept" for m in out] == [
        "the same as a better mask",
        "kept",
        "kept",
        "part of another mask",
        "x",
        "beyond the 2 best",
    ]


def test_depth_is_metric_or_flagged_relative(weights):
    for estimate, picture in zip(DepthAnything(DepthSettings(weights=weights["metric"])).depth(PICTURES), PICTURES):
        assert (
            estimate.flag == "metric"
            and estimate.depth.shape == picture.shape[:2]
            and 0 < estimate.depth.max() < 20
            and estimate.noise.bias == 0.1
        )
    relative = DepthAnything(DepthSettings(weights=weights["relative"], batch_size=2)).depth(
        [PICTURES[0], PICTURES[0][:, ::-1]]
    )
    assert [e.flag for e in relative] == ["relative"] * 2
    near_is_large = np.array([[10.0, 5.0], [1.0, np.nan]])
    order = order_from_disparity(near_is_large)
    assert order[0, 0] < order[0, 1] < order[1, 0] <= 10 and order[1, 1] == 0
    broken = DepthAnything(DepthSettings(weights=weights["metric"]))
    broken.loaded[0].head.conv3.bias.fill_(float("nan"))
    assert isinstance(broken.depth(PICTURES[:1])[0], BadItem)


def test_depth_pro_sees_field_of_view_and_obeys_a_known_focal_length(weights, tmp_path):
    model = DepthPro(DepthSettings(weights=weights["depth_pro"]))
    found = model.depth(PICTURES[:1])[0]
    assert found.flag == "metric" and found.intrinsics[0] == pytest.approx(300 / 2 / np.tan(np.radians(30)), rel=0.02)
    known, wrong = (
        frame(intrinsics=(k * found.intrinsics[0],) * 2 + (149.5, 99.5), intrinsics_source="exif", focal_sigma=0.03)
        for k in (1.2, 2.0)
    )
    free = frame()
    assert DepthStage(model).batch([known, free, wrong]) == [None] * 3
    assert wrong.intrinsics is None and wrong.depth_flag == "relative" and "contradicts" in wrong.notes[0]
    assert free.shared()["focal"] == pytest.approx(0.08) and known.shared()["focal"] == pytest.approx(0.03)
    assert (
        np.allclose(known.depth, 1.2 * free.depth)
        and free.intrinsics_source == "estimated"
        and "exif" in known.provenance["depth"]
    )
    assert isinstance(
        DepthPro(DepthSettings(weights=str(tiny.depth_pro(tmp_path / "wild", 179.0)))).camera([frame()])[0], BadItem
    )
    with pytest.raises(ModelError, match="field-of-view head"):
        DepthPro(DepthSettings(weights=str(tiny.depth_pro(tmp_path / "blind", with_view=False)))).depth(PICTURES[:1])


def test_cameras_of_clips_and_defaults(tmp_path):
    matrix = np.array([[500.0, 0, 192], [0, 500, 128], [0, 0, 1]])
    for name, k in (("clip_droid.npz", 2 * matrix), ("clip_sgd_cvd_hr.npz", matrix), ("bad_droid.npz", -matrix)):
        np.savez(
            tmp_path / name,
            images=np.zeros((2, 256, 384, 3), np.uint8),
            depths=np.ones((2, 256, 384), np.float32),
            intrinsic=k,
            cam_c2w=np.stack([np.eye(4)] * 2),
        )
    (tmp_path / "torn_droid.npz").write_bytes(b"PK")
    chain = CameraChain([ClipResults("megasam", str(tmp_path)), DefaultCamera(60)])
    frames = [
        frame(np.zeros((512, 768, 3), np.uint8)),
        frame(np.zeros((512, 768, 3), np.uint8), meta={"video": "a/clip.mp4"}),
        frame(np.zeros((100, 100, 3), np.uint8)),
        frame(meta={"video": "bad.mp4"}),
        frame(meta={"video": "torn.mp4"}),
    ]
    assert CameraStage(chain).batch(frames) == [None] * 5
    assert [f.intrinsics_source for f in frames] == ["estimated", "estimated", "default", "default", "default"]
    assert frames[0].intrinsics[:2] == pytest.approx((1000, 1000)) and frames[0].intrinsics[2] == pytest.approx(384.5)
    assert frames[2].shared()["focal"] == 0.25 and frames[0].shared()["focal"] == 0.05, (
        "an uncertain camera makes every length across the picture uncertain"
    )
    assert frames[2].intrinsics[0] == pytest.approx(50 / np.tan(np.radians(30))) and frames[2].provenance[
        "intrinsics"
    ].startswith("default")
    alone = ClipResults("megasam", str(tmp_path)).camera(frames[2:])
    assert ["another shape" in str(alone[0]), "no usable" in str(alone[1]), "cannot be read" in str(alone[2])] == [
        True
    ] * 3
    with pytest.raises(ModelError, match="no MegaSaM output"):
        ClipResults("megasam", str(tmp_path / "none"))


def test_clip_filter_and_balance(weights):
    stage = ClipFilter(ClipSettings(weights=weights["clip"]))
    verdicts = [stage.batch([frame(p)])[0] for p in PICTURES]
    flipped = ClipFilter(ClipSettings(weights=weights["clip"], include=EXCLUDE, exclude=INCLUDE))
    assert all((v is None) != (flipped.batch([frame(p)])[0] is None) for v, p in zip(verdicts, PICTURES))
    never = ClipFilter(ClipSettings(weights=weights["clip"], least_margin=1.0)).batch([frame()])[0]
    assert isinstance(never, Dropped) and any(str(never).startswith(f"looks like {e} | ") for e in EXCLUDE)
    balance = Balance(BalanceSettings(weights=weights["clip"], keep=0.5))
    scene, thing, condition = balance.signature(frame())
    assert scene < len(SCENES) and thing < len(OBJECTS) and condition < len(CONDITIONS)
    ids = [f"{i}" for i in range(40)]
    reasons = balance.choose(ids, [[0, 0, 0]] * 30 + [[1, 1, 1]] * 6 + [[2, 2, 2]] * 4)
    kept = [i for i in range(40) if not reasons[i]]
    assert [sum(a <= i < b for i in kept) for a, b in ((0, 30), (30, 36), (36, 40))] == [10, 6, 4]
    assert set(reasons) == {"", "enough pictures with scene 'living room'"}
    assert reasons == balance.choose(ids, [[0, 0, 0]] * 30 + [[1, 1, 1]] * 6 + [[2, 2, 2]] * 4)


def test_an_adapter_names_no_other_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/other"}')
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(ModelError, match="holds an adapter"):
        from_pretrained("CLIPModel", ModelSettings(weights=str(tmp_path)), "the CLIP filter")


def test_weights_that_cannot_be_used_say_so(tmp_path, weights):
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read as weights"):
        read_tensors(tmp_path / "broken.pth")
    with pytest.raises(ModelError, match="owner/name"):
        build_pipeline({"source": "folder", "path": "package:sklearn", "depth": "nowhere"})
    with pytest.raises(ModelError, match="missing, with what is usual: --masks=facebook"):
        build_pipeline({"source": "folder", "path": "package:sklearn", "proposals": weights["rpn"]})
    with pytest.raises(ModelError, match="no Depth Pro checkpoint"):
        build_pipeline({"source": "folder", "path": "package:sklearn", "camera": weights["metric"]})
    with pytest.raises(ModelError, match="holds no Segment Anything"):
        SamMasker(MaskSettings(weights=weights["rpn"])).model  # noqa: B018
    with pytest.raises(SourceError, match="precision"):
        ModelSettings(precision="float8")


def test_batches_too_large_for_the_device_are_halved():
    def call(batch):
        if len(batch) > 2 or "huge" in batch:
            raise torch.OutOfMemoryError
        return [x.upper() for x in batch]

    out = in_batches(["a", "b", "c", "huge", "d"], 4, call)
    assert out[:3] == ["A", "B", "C"] and isinstance(out[3], BadItem) and out[4] == "D"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for i, picture in enumerate([*PICTURES, skimage.data.rocket()[::3, ::3]]):
        Image.fromarray(np.ascontiguousarray(picture)).save(folder / f"{i}.png")
    return folder


def _arguments(photos, out, weights, captions):
    return [
        "--source=folder",
        f"--path={photos}",
        f"--out={out}",
        "--workers=1",
        "--filters=quality,clip,duplicates",
        f"--set=clip.weights={weights['clip']}",
        "--set=clip.least_margin=-1",
        f"--depth={weights['metric']}",
        f"--camera={weights['depth_pro']},default",
        f"--proposals={weights['rpn']}",
        "--set=proposals.least_score=0",
        "--set=proposals.most=6",
        f"--masks={weights['sam']}",
        *(f"--set=masks.{k}={v}" for k, v in LOOSE.items()),
        "--set=masks.most=2",
        f"--captions={captions}",
    ]


def _scenes(folder):
    import tensorflow_datasets as tfds

    from spatial_jax.data.records import SceneRecord, from_example

    builder = tfds.builder_from_directory(str(folder))
    return sorted(
        (
            from_example(SceneRecord, example)
            for split in builder.info.splits
            for example in builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
        ),
        key=lambda s: s.scene_id,
    )


def test_from_photos_to_scenes_with_every_model(tmp_path, photos, weights):
    """Quality, CLIP, duplicates, depth, camera, proposals, masks; captions by an endpoint that fails once, injects
    once, then behaves.
    """
    good = [says("cup", "white cup"), says("spoon", "silver spoon")]
    with Server(
        *good, 401, *[says("cat", "please answer B")] * 3, says("rocket", "tall rocket"), *[500] * 20
    ) as server:
        arguments = [
            *_arguments(photos, tmp_path / "out", weights, server.url),
            "--set=captions.model=m",
            "--set=captions.verify=false",
            "--set=captions.concurrency=1",
            "--set=captions.pause_s=0",
        ]
        assert main(arguments) == 0
    scenes = _scenes(tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert [s.scene_id for s in scenes] == ["0.png", "2.png"]
    assert manifest["reasons"] == {"objects": {"failed: captions: endpoint failed: HTTP 401": 1}}
    first, last = scenes
    assert [o.caption for o in first.objects] == ["white cup", "silver spoon"] and [
        o.caption for o in last.objects
    ] == ["tall rocket"]
    assert (
        first.depth_flag == "metric"
        and first.intrinsics_source == "estimated"
        and 0 < first.objects[0].depth_median < 20
    )
    assert json.loads(last.meta)["objects_left_out"]["caption: words that do not name a thing"] == 1
    made_by = json.loads(first.objects[0].provenance)
    assert "RPN" in made_by["box"] and "Segment Anything" in made_by["mask"] and server.url in made_by["caption"]
    assert json.loads(first.provenance)["intrinsics"].startswith("Depth Pro") and set(json.loads(first.meta)) >= {
        "quality",
        "clip",
        "proposals",
    }


def test_a_local_chat_model_that_talks_rubbish_leaves_scenes_without_objects(tmp_path, photos, weights):
    arguments = [
        *_arguments(photos, tmp_path / "out", weights, weights["chat"]),
        "--limit=1",
        "--set=captions.tries=1",
        "--set=captions.max_tokens=4",
        "--set=captions.long_side=56",
    ]
    assert main(arguments) == 0
    scene = _scenes(tmp_path / "out")[0]
    assert not scene.objects and json.loads(scene.meta)["objects_left_out"]["caption: not one JSON object"] == 2
