"""Small files in the published layouts of the benchmarks that test_evals_more.py holds: write_NAME(folder)."""

import base64
import csv
import io
import json

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image


def encoded(seed=0, size=(40, 30)):
    """A PNG of coarse coloured patches."""
    patches = np.random.default_rng(seed).integers(0, 255, (3, 4, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(patches).resize(size).save(out, "PNG")
    return out.getvalue()


def as_mask(size=(40, 30)):
    """A PNG mask, white on its right half."""
    values = np.zeros(size[::-1], np.uint8)
    values[:, size[0] // 2 :] = 255
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    return out.getvalue()


def shown(data):
    return {"bytes": data, "path": None}


def base64_text(data):
    return base64.b64encode(data).decode()


def parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def tsv(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)


def picture_at(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded())


def write_site_bench(root):
    row = {
        "question": "How many?",
        "options": ["one", "two"],
        "answer": "B",
        "category": "counting & existence",
        "dataset": "d",
    }
    picture_at(root / "coco" / "a.jpg")
    picture_at(root / "coco" / "clip.mp4")  # opened by no test
    parquet(root / "image_test" / "test-0.parquet", [{**row, "visual": ["coco/a.jpg"]}])
    parquet(
        root / "video_test" / "test-0.parquet",
        [{**row, "visual": ["coco/clip.mp4"], "category": "movement prediction & navigation"}],
    )


def write_vsi_debiased(root):
    row = {
        "id": 7,
        "dataset": "scannet",
        "scene_name": "scene0011_00",
        "question_type": "object_counting",
        "question": "q",
        "ground_truth": "4",
        "options": None,
    }
    parquet(root / "test_debiased.parquet", [row])
    parquet(root / "test_pruned.parquet", [{**row, "id": 8}])
    (root / "test.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**row, "id": 8}) + "\n")


def write_revsi(root):
    row = {
        "scene_id": "s0",
        "num_frames": 32,
        "question_type": "object_counting_single",
        "question": "q",
        "options": None,
        "ground_truth": "3",
    }
    choice = {
        **row,
        "question_type": "object_rel_direction_forward_easy",
        "options": ["A. left", "B. right"],
        "ground_truth": "B",
    }
    parquet(root / "32_frame" / "test-0.parquet", [row])
    parquet(root / "32_frame" / "test-1.parquet", [choice])
    parquet(root / "64_frame" / "test-0.parquet", [row])


def write_mmsi_video(root):
    for name in ("v/0.jpg", "v/1.jpg", "w/0.jpg"):
        picture_at(root / "frames" / name)
    picture_at(root / "ref_images" / "r.png")
    row = {
        "id": "1",
        "type": "Planning",
        "video_list": [{"path": "v.mp4", "start": 0, "end": 2, "base_fps": 1}],
        "frames_list": [["v/0.jpg", "v/1.jpg"], ["w/0.jpg"]],
        "ref_images": ["r.png"],
        "system_prompt": "You see videos.",
        "task_prompt": "Task. ",
        "user_prompt": "First <video> then <image> and <video>.",
        "format_prompt": " One letter.",
        "ground_truth": "F",
        "Easy2hard": "level_1",
        "Robot": None,
    }
    (root / "mmsivideo.json").write_text(json.dumps([row]))


def write_sti_bench(root):
    parquet(
        root / "qa.parquet",
        [
            {
                "Video": "scene0_1.mp4",
                "ID": 3,
                "time_start": 0.0,
                "time_end": 2.5,
                "Question": "q",
                "Candidates": {"A": "x", "B": "y", "C": "z", "D": "v", "E": "w"},
                "Answer": "E",
                "Task": "Pose Estimation",
                "Source": "ScanNet",
            }
        ],
    )


def write_erqa(root):
    parquet(
        root / "data" / "test-0.parquet",
        [
            {
                "question_id": "q1",
                "question": "Choices: A. x. B. y.",
                "question_type": "Pointing",
                "images": [shown(encoded()), shown(encoded(1))],
                "visual_indices": [0, 9],
                "answer": "A",
            }
        ],
    )


def write_refspatial(root):
    row = {"id": 0, "image": shown(encoded()), "mask": shown(as_mask()), "object": "cup", "prompt": "p", "suffix": "s"}
    for split in ("location", "placement", "unseen"):
        parquet(root / "data" / f"{split}-0.parquet", [{**row, "step": 1}])


def write_where2place(root):
    picture_at(root / "images" / "00.jpg")
    (root / "masks").mkdir()
    (root / "masks" / "00.jpg").write_bytes(as_mask())
    (root / "point_questions.jsonl").write_text(
        json.dumps({"question_id": 0, "image": "00.jpg", "text": "Where is space?", "category": "free"}) + "\n"
    )


def write_spatialviz(root):
    picture_at(root / "MentalRotation" / "2DRotation" / "Level0" / "0-3.png")
    parquet(
        root / "SpatialViz_Bench.parquet",
        [
            {
                "Category": "MentalRotation",
                "Task": "2DRotation",
                "Level": "Level0",
                "Image_id": "0-3",
                "Question": "q",
                "Choices": ["x", "y", "z", "w"],
                "Answer": "D",
                "Explanation": "",
            }
        ],
    )


def write_osi_bench(root):
    row = {"file_name": "v.mp4", "question": "q", "video_length": 12.345}
    parquet(
        root / "data.parquet",
        [
            {
                **row,
                "index": 0,
                "question_type": "mcq",
                "category": "relative_distance",
                "options": ["A. x", "B. y", "C. z", "D. w"],
                "answer": "D",
            },
            {
                **row,
                "index": 1,
                "question_type": "numerical",
                "category": "absolute_speed",
                "options": None,
                "answer": "0",
            },
        ],
    )


def write_robospatial_home(root):
    row = {"question": "q", "img": shown(encoded()), "depth_image": None, "mask": None}
    square = "[(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)]"
    for split, answer in (("configuration", "no"), ("compatibility", "yes"), ("context", square)):
        parquet(root / "data" / f"{split}-0.parquet", [{**row, "category": split, "answer": answer}])


def write_pointbench(root):
    picture_at(root / "selected_images" / "spatial" / "a.jpg")
    (root / "selected_masks" / "spatial").mkdir(parents=True)
    (root / "selected_masks" / "spatial" / "a.png").write_bytes(as_mask())
    row = {
        "image_filename": "a.jpg",
        "mask_filename": "a.png",
        "user_input": "Point.",
        "category": "spatial",
        "count": 1,
    }
    (root / "data.json").write_text(json.dumps([row]))


def write_vsi_super_recall(root):
    options = ["A. x, y", "B. y, x", "C. z", "D. w"]
    row = {"video_path": "10mins/0.mp4", "question": "These are frames of a video.\nq", "options": options}
    parquet(root / "data" / "test-0.parquet", [{**row, "answer": "B", "type": "10mins"}])


def write_vsi_super_count(root):
    row = {"video_path": "10mins/0.mp4", "question": "q", "query_times": [1.0], "answers": [3]}
    parquet(
        root / "data" / "test-0.parquet",
        [
            {**row, "split": "10mins", "answer": 3.0, "query_times": None, "answers": None},
            {**row, "split": "10mins_streaming", "answer": 3.0},
        ],
    )


WRITERS_MORE = {
    name.removeprefix("write_"): function for name, function in list(globals().items()) if name.startswith("write_")
}
