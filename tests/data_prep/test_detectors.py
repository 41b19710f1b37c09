"""Named proposals, SAM 2 and 3, and how models are run: thresholds that agree, batches seen, failures alone."""

import numpy as np
import pytest
import tiny_annotators as tiny
import torch

from data_prep.annotate.base import Caption, Mask, ObjectsStage, Proposal
from data_prep.annotate.depth import DepthAnything, DepthSettings
from data_prep.annotate.detectors import CLASSES, DetectorSettings, OpenVocabulary
from data_prep.annotate.masks import MaskSettings, SamMasker
from data_prep.annotate.models import build_objects
from data_prep.annotate.proposals import ProposalSettings, RpnProposer
from data_prep.annotate.weights import ModelError, find_weights, in_batches
from data_prep.pipeline import Pipeline
from data_prep.runner import estimate
from data_prep.sources import BadItem, Frame
from data_prep.synthesis import Options

rng = np.random.default_rng(0)
PICTURES = [rng.integers(0, 255, size, np.uint8) for size in ((48, 64, 3), (60, 40, 3), (48, 64, 3))]
CAPTIONS = "http://localhost:9/v1"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    home = tmp_path_factory.mktemp("detectors")
    return {
        "owl": str(tiny.owl(home / "owl", ["a photo of a chair", "a photo of a ball"])),
        "dino": str(tiny.grounding_dino(home / "dino", ["chair", "ball", "lamp"])),
        "sam2": str(tiny.sam2(home / "sam2")),
        "sam3": str(tiny.sam3(home / "sam3")),
        "rpn": str(tiny.rpn(home)),
        "depth": str(tiny.depth_anything(home / "depth")),
    }


@pytest.mark.parametrize("kind", ["owl", "dino"])
def test_a_detector_names_its_boxes_and_its_threshold_is_what_may_be_asked_of(weights, kind):
    given = {"weights": weights[kind], "classes": ("chair", "ball"), "batch_size": 2}
    loose = OpenVocabulary(DetectorSettings(least_score=0.01, **given)).propose(PICTURES)
    strict = OpenVocabulary(DetectorSettings(least_score=0.6, **given)).propose(PICTURES)
    assert sum(map(len, loose)) > 0 and sum(map(len, strict)) <= sum(map(len, loose))
    for picture, found in zip(PICTURES, loose):
        height, width = picture.shape[:2]
        for p in found:
            assert p.name in ("chair", "ball") and Options().min_confidence <= p.score <= 1
            assert 0 <= p.box[0] < p.box[2] <= width and 0 <= p.box[1] < p.box[3] <= height
    alone = OpenVocabulary(DetectorSettings(least_score=0.01, weights=weights[kind], classes=("chair", "ball")))
    if kind == "owl":  # Grounding DINO pads a batch, which moves its numbers a little
        for single, found in zip(alone.propose(PICTURES), loose):
            assert [p.name for p in single] == [p.name for p in found]


def test_the_kind_of_checkpoint_decides_what_proposes(weights):
    spec = {"masks": weights["sam2"], "captions": CAPTIONS}
    said = {"captions": {"model": "toy"}}
    assert isinstance(build_objects(spec | {"proposals": weights["owl"]}, said).proposer, OpenVocabulary)
    assert isinstance(build_objects(spec | {"proposals": weights["rpn"]}, said).proposer, RpnProposer)
    said["proposals"] = {"classes": "red mug; lamp"}
    own = build_objects(spec | {"proposals": weights["dino"]}, said).proposer
    assert own.classes == ["red mug", "lamp"] and own._class_of("red mug") == "red mug" and len(CLASSES.split(";")) > 40
    with pytest.raises(ModelError, match=r"proposals: .* is none of grounding-dino"):
        build_objects(spec | {"proposals": weights["depth"]}, {})
    with pytest.raises(ModelError, match="missing, with what is usual: --proposals=IDEA-Research"):
        build_objects(spec, {})


def test_what_is_proposed_and_masked_is_not_refused_for_its_score_afterwards():
    assert ProposalSettings().least_score == Options().min_confidence <= MaskSettings().least_quality


@pytest.mark.parametrize("kind", ["sam2", "sam3"])
def test_masks_are_those_of_transformers_own_way(weights, kind):
    boxes = [Proposal((5, 5, 30, 30), 0.9), Proposal((2, 20, 20, 40), 0.9)]
    anything = {"least_quality": -9.0, "least_stability": 0.0, "least_box": 0.0, "least_pixels": 0, "most_area": 1.0}
    masker = SamMasker(MaskSettings(weights=weights[kind], batch_size=2, most_overlap=2, most_inside=2, **anything))
    found = masker.masks(PICTURES[:2], [boxes, boxes])
    model = masker.model.model
    for picture, masks in zip(PICTURES, found):
        height, width = picture.shape[:2]
        inputs = masker.model.processor(images=picture, return_tensors="pt")
        scale = np.array([masker.model.side / width, masker.model.side / height] * 2)
        own = torch.tensor(np.array([p.box for p in boxes])[None] * scale, dtype=torch.float32)
        with torch.inference_mode():
            out = model(pixel_values=inputs["pixel_values"], input_boxes=own, multimask_output=False)
        whole = torch.nn.functional.interpolate(out.pred_masks[0], (height, width), mode="bilinear")[:, 0] > 0
        assert len(masks) == 2
        for mask, expected in zip(masks, whole.numpy()):
            assert (mask.mask == expected).mean() > 0.99


def test_models_see_as_many_pictures_at_once_as_was_asked(weights):
    seen = []
    depth = DepthAnything(DepthSettings(weights=weights["depth"], batch_size=3))
    depth.loaded[0].register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(len(kwargs["pixel_values"])), with_kwargs=True
    )
    whole = depth.depth(PICTURES)
    assert sorted(seen) == [1, 2]  # two of one size go together, whatever lies between them
    assert [e.depth.shape for e in whole] == [p.shape[:2] for p in PICTURES]
    masker = SamMasker(MaskSettings(weights=weights["sam2"], batch_size=3))
    tower = masker.model.model.vision_encoder
    tower.register_forward_pre_hook(lambda _, args, kwargs: seen.append(len(args[0])), with_kwargs=True)
    masker.masks(PICTURES, [[Proposal((5, 5, 30, 30), 0.9)]] * 3)
    assert seen[-1] == 3


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "does not fit"),
        (torch.OutOfMemoryError("CUDA"), "does not fit"),
        (ValueError("nan in\nattention"), "the model failed on it: ValueError: nan in attention"),
    ],
)
def test_one_picture_that_a_model_fails_on_is_named_and_the_rest_goes_on(error, says):
    calls = []

    def call(batch):
        calls.append(len(batch))
        if 3 in batch:
            raise error
        return [10 * x for x in batch]

    found = in_batches([0, 1, 2, 3, 4, 5], 4, call)
    assert [f for f in found if not isinstance(f, BadItem)] == [0, 10, 20, 40, 50] and says in str(found[3])
    assert calls == [4, 2, 2, 1, 1, 2]
    with pytest.raises(ModelError):
        in_batches([1], 1, lambda batch: (_ for _ in ()).throw(ModelError("no weights")))


def test_a_long_run_is_told_how_long_and_on_what():
    seconds = {"load": 0.5, "objects": 40.0, "objects.masks": 10.0, "objects.captions": 30.0}
    text = estimate(seconds, 10, 1000, 2)
    assert text.startswith("about 34 min for 1000 more items") and "objects.captions 3.00" in text
    assert "--set=masks.most=N" in text and not estimate(seconds, 10, 10, 2)

    class Toy:
        name = "toy"

        def propose(self, pictures):
            return [[Proposal((5, 5, 30, 30), 0.9)] for _ in pictures]

        def masks(self, pictures, proposals):
            return [[Mask(np.ones(p.shape[:2], bool))] for p in pictures]

        def captions(self, pictures, masks):
            return [[Caption("red box", "box")] for _ in pictures]

        def config(self):
            return {}

    class Source:
        name = "toy"

        def item_id(self, index):
            return "a.png"

        def load(self, index):
            return Frame("a.png", "toy", PICTURES[0])

    outcome = Pipeline(Source(), [ObjectsStage(Toy(), Toy(), Toy())]).outcomes([0])[0]
    assert {"objects", "objects.propose", "objects.masks", "objects.captions"} <= set(outcome.seconds)


def test_missing_weights_say_what_to_fetch_and_where_to_put_it(monkeypatch):
    with pytest.raises(ModelError, match=r"download https://\S+/fasterrcnn_\S+\.pth to weights/"):
        find_weights("weights/fasterrcnn_resnet50_fpn_coco-258fb6c6.pth")
    with pytest.raises(ModelError, match=r"segment_anything/sam_vit_h_4b8939.pth to weights/"):
        find_weights("weights/sam_vit_h_4b8939.pth")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: (_ for _ in ()).throw(OSError("offline")))
    with pytest.raises(ModelError, match="hf download owner/model --local-dir weights/model"):
        find_weights("owner/model")
