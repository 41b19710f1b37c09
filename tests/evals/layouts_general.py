"""Small files in the published layouts of the general-ability benchmarks: write_NAME(folder)."""

import json

from tests.evals.layouts_more import base64_text, encoded, parquet, picture_at, shown, tsv

LARGE = base64_text(encoded(0, (200, 200)))


def write_mmbench(root):
    row = {
        "question": "q",
        "hint": "",
        "A": "cat",
        "B": "dog",
        "C": "",
        "D": "",
        "category": "identity",
        "split": "dev",
    }
    tsv(
        root / "MMBench_DEV_EN.tsv",
        [
            {"index": 5, **row, "answer": "B", "image": LARGE, "l2-category": "attribute"},
            {
                "index": 1_000_005,
                **row,
                "A": "dog",
                "B": "cat",
                "answer": "A",
                "image": "5",
                "l2-category": "attribute",
            },
        ],
    )


def write_mmstar(root):
    row = {
        "index": 0,
        "question": "q Options: A: x, B: y, C: z, D: w",
        "image": encoded(),
        "answer": "B",
        "category": "math",
        "l2_category": "geometry",
    }
    parquet(root / "mmstar.parquet", [row, {**row, "index": 1, "answer": "C", "l2_category": "numeric"}])


def write_hallusionbench(root):
    picture_at(root / "hallusion_bench" / "VD" / "ocr" / "0_1.png")
    row = {
        "category": "VD",
        "subcategory": "ocr",
        "visual_input": "1",
        "set_id": "0",
        "figure_id": "1",
        "question_id": "0",
        "question": "q",
        "gt_answer_details": "It is.",
        "gt_answer": "1",
        "filename": "./VD/ocr/0_1.png",
    }
    rows = [row, {**row, "question_id": "1", "gt_answer": "0"}]
    (root / "HallusionBench.json").write_text(json.dumps(rows))


def write_ocrbench(root):
    row = {"dataset": "IIIT5K", "question": "q", "question_type": "Regular Text Recognition", "image": shown(encoded())}
    parquet(root / "data" / "test-0.parquet", [{**row, "answer": ["stop"]}, {**row, "answer": ["go", "Go!"]}])


def write_docvqa(root):
    row = {"questionId": "7", "question": "q", "question_types": ["form"], "image": shown(encoded()), "docId": 3}
    parquet(root / "DocVQA" / "validation-0.parquet", [{**row, "answers": ["0.28", "$0.28"]}])
    parquet(root / "DocVQA" / "test-0.parquet", [{**row, "answers": None}])


def write_textvqa(root):
    row = {"question_id": 34602, "image_id": "a", "question": "what?", "image": shown(encoded()), "ocr_tokens": ["x"]}
    parquet(root / "data" / "validation-0.parquet", [{**row, "answers": ["nokia"] * 10}])


def write_chartqa(root):
    row = {"question": "q", "image": shown(encoded())}
    parquet(
        root / "data" / "test-0.parquet",
        [{**row, "type": "human_test", "answer": "14"}, {**row, "type": "augmented_test", "answer": "Yes"}],
    )


def write_mme(root):
    row = {"question_id": "code/0.png", "image": shown(encoded()), "category": "existence"}
    parquet(
        root / "data" / "test-0.parquet",
        [
            {**row, "question": "Is it a cat? Please answer yes or no.", "answer": "Yes"},
            {**row, "question": "Is it a dog? Please answer yes or no.", "answer": "No"},
        ],
    )


def write_ai2d(root):
    parquet(
        root / "data" / "test-0.parquet",
        [{"question": "q", "options": ["x", "y", "z", "w"], "answer": "2", "image": shown(encoded())}],
    )


def write_seed_bench(root):
    row = {"question": "q", "choice_a": "x", "choice_b": "y", "choice_c": "z", "choice_d": "w", "segment": ["0"]}
    pictured = {"image": [shown(encoded())], "data_type": "image", "question_type_id": 1, "question_id": "1"}
    clip = {
        "image": [shown(encoded()), shown(encoded(1))],
        "data_type": "video",
        "question_type_id": 10,
        "question_id": "2",
    }
    parquet(root / "data" / "test-0.parquet", [{**row, **pictured, "answer": "A"}, {**row, **clip, "answer": "D"}])


def write_pope(root):
    picture_at(root / "val2014" / "a.jpg")
    for kind in ("random", "popular", "adversarial"):
        row = {"question_id": 1, "image": "a.jpg", "text": "Is there a cup in the image?", "label": "yes"}
        lines = [row, {**row, "question_id": 2, "label": "no"}]
        (root / f"coco_pope_{kind}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))


WRITERS_GENERAL = {
    name.removeprefix("write_"): function for name, function in list(globals().items()) if name.startswith("write_")
}
