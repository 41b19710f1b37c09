"""Scorer cases of the benchmarks that test_evals_more.py holds, and a right and a wrong answer to each."""

import numpy as np

SITE = {
    "answer": "B",
    "options": ["a cup", "two cups", "three"],
    "question": "q",
    "category": "counting & existence",
    "visual": ["a.jpg"],
}
SITE_LOOSE = {**SITE, "options": "not a list ["}
REVSI = {
    "question_type": "object_rel_distance_closest",
    "ground_truth": "B",
    "options": ["A. x", "B. y"],
    "question": "q",
    "scene_id": "s",
}
REVSI_N = {**REVSI, "question_type": "object_abs_distance", "ground_truth": "2.0", "options": None}
VSID = {"question_type": "object_rel_distance", "ground_truth": "B", "options": ["A. x", "B. y"], "question": "q"}
VSID_N = {**VSID, "question_type": "object_abs_distance", "ground_truth": "2.0", "options": None}
MMSIV = {"ground_truth": "E", "type": "Planning", "user_prompt": "<video>q", "task_prompt": "", "format_prompt": ""}
STI = {
    "Answer": "C",
    "Candidates": {"A": "x", "B": "y", "C": "z", "D": "v", "E": "w"},
    "Question": "q",
    "Task": "Pose Estimation",
    "time_start": 0,
    "time_end": 2.5,
    "Video": "scene0_1.mp4",
}
ERQA = {"answer": "C", "question": "q", "question_type": "Pointing", "visual_indices": [0]}
VIZ = {
    "Answer": "B",
    "Choices": ["x", "y", "z", "w"],
    "Question": "q",
    "Category": "MentalRotation",
    "Task": "2DRotation",
    "Level": "Level0",
}
OSI = {"category": "relative_distance", "answer": "C", "options": ["A. x", "B. y", "C. z", "D. w"], "question": "q"}
OSI_N = {"category": "absolute_distance", "answer": "10.0", "options": None, "question": "q"}
OSI_STILL = {**OSI_N, "category": "absolute_speed", "answer": "0"}
OSI_LONG = {**OSI_N, "category": "trajectory_length", "answer": "0.0"}
OSI_ZERO = {**OSI_N, "answer": "0"}


def half_mask(width=200, height=100, left=100):
    """White from column `left` on."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, left:] = 255
    return mask


YES = {"answer": "yes", "question": "Can it fit? Answer yes or no.", "category": "compatibility"}
NO = {**YES, "answer": "no"}
PLACE = {
    "answer": "[(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8)]",
    "question": "Where? Your answer should be",
    "category": "context",
}
LONG = {
    "answer": "C",
    "options": ["A. x", "B. y", "C. z", "D. w"],
    "question": "q",
    "type": "10mins",
    "video_path": "v.mp4",
}
COUNT = {"answer": 10.0, "question": "How many?", "split": "10mins"}
COUNT_ZERO = {**COUNT, "answer": 0.0}
STREAM = {"question": "q", "answers": [1, 4, 8], "split": "10mins_streaming", "answer": 8}
PB = {"mask": half_mask(), "user_input": "Point.", "category": "spatial"}
PB_COUNT = {**PB, "category": "counting", "count": 2}
POINT = {"mask": half_mask(), "prompt": "Point at the cup.", "suffix": "As tuples.", "split": "location"}
WIDE = {"mask": half_mask(640, 480, 320), "question": "Where is space?"}
GREY = {"mask": np.full((480, 640), 51, np.uint8), "question": "Where is space?"}

CASES_MORE = [
    # SITE: brackets before blanks before dots before colons; of several the last place between blanks
    ("site_bench", "official", SITE, "B", 1),
    ("site_bench", "official", SITE, "The answer is (B), not A", 1),
    ("site_bench", "official", SITE, "A dog is near, so B.", 0),
    ("site_bench", "official", SITE, "A dog or B here", 1),
    ("site_bench", "official", SITE, "CAB.", 1),
    ("site_bench", "official", SITE, "DATA.", 0),
    ("site_bench", "official", SITE, "Answer:B", 1),
    ("site_bench", "official", SITE, "b", 0),
    ("site_bench", "official", SITE, "D", 0),
    ("site_bench", "official", SITE, "(A) or (B)", 0),
    ("site_bench", "official", SITE, "(A) or (B), B it is", 1),
    ("site_bench", "lmms_eval", SITE, "I choose B: two cups", 1),
    ("site_bench", "vlmevalkit", SITE, "<answer>B</answer>", 1),
    ("site_bench", "vlmevalkit", SITE_LOOSE, "The answer is B", 1),
    # ReVSI: as VSI-Bench, but blanks in front do no harm
    ("revsi", "official", REVSI, " b.", 1),
    ("revsi", "official", REVSI, "(B)", 0),
    ("revsi", "lmms_eval", REVSI, "B. y", 1),
    ("revsi", "vlmevalkit", REVSI, "The B", 0),
    ("revsi", "official", REVSI_N, "\n2.0 m", 1),
    ("revsi", "official", REVSI_N, "2.7", 0.3),
    ("revsi", "official", REVSI_N, "about 2", 0),
    ("vsi_debiased", "official", VSID, "B", 1),
    ("vsi_debiased", "official", VSID_N, " 2.0", 0),
    ("vsi_debiased", "lmms_eval", VSID_N, "two", 1),
    ("vsi_debiased", "vlmevalkit", VSID, "(B)", 1),
    # MMSI-Video: the first stage that applies decides; lmms-eval falls through
    ("mmsi_video", "official", MMSIV, "E", 1),
    ("mmsi_video", "official", MMSIV, "<answer>E</answer>", 1),
    ("mmsi_video", "official", MMSIV, "\\boxed{E}", 1),
    ("mmsi_video", "official", MMSIV, "E. it turns left", 1),
    ("mmsi_video", "official", MMSIV, "(E)", 0),
    ("mmsi_video", "official", MMSIV, "The answer is E, since A fails.", 1),
    ("mmsi_video", "official", MMSIV, '{"answer": "E", "why": "B"}', 1),
    ("mmsi_video", "official", MMSIV, "Answer: \\boxed{A} ... Answer: E", 0),
    ("mmsi_video", "official", MMSIV, "no answer fits, E", 0),
    ("mmsi_video", "lmms_eval", MMSIV, "(E)", 1),
    ("mmsi_video", "lmms_eval", MMSIV, "The answer is option E it seems", 1),
    ("mmsi_video", "lmms_eval", MMSIV, "A or E", 0),
    ("mmsi_video", "lmms_eval", MMSIV, "No answer: E", 0),
    ("mmsi_video", "vlmevalkit", MMSIV, "so the answer is E", 1),
    # STI-Bench: the last character of what is read
    ("sti_bench", "official", STI, "(C) z", 1),
    ("sti_bench", "official", STI, "(c)", 1),
    ("sti_bench", "official", STI, "Answer: C", 1),
    ("sti_bench", "official", STI, "Ans='C'", 1),
    ("sti_bench", "official", STI, "The answer is C", 1),
    ("sti_bench", "official", STI, "The answer is c", 0),
    ("sti_bench", "official", STI, "C is correct", 1),
    ("sti_bench", "official", STI, "A.\nC.", 0),
    ("sti_bench", "official", STI, "It is C.\nindeed", 1),
    ("sti_bench", "official", STI, "PANIC", 1),
    ("sti_bench", "official", STI, "", 0),
    ("sti_bench", "vlmevalkit", STI, "The answer is C", 1),
    # ERQA: the whole text
    ("erqa", "official", ERQA, "C.", 1),
    ("erqa", "official", ERQA, " c", 1),
    ("erqa", "official", ERQA, "C. left", 0),
    ("erqa", "lmms_eval", ERQA, "C. left", 1),
    ("erqa", "vlmevalkit", ERQA, "The answer is C.", 1),
    # SpatialViz: one letter in the answer up to its first dot
    ("spatialviz", "official", VIZ, "<think>x</think><answer>B. y</answer>", 1),
    ("spatialviz", "official", VIZ, "<think>x</think><answer>CUBE B</answer>", 0),
    ("spatialviz", "official", VIZ, "B", 1),
    ("spatialviz", "official", VIZ, "B.", 0),
    ("spatialviz", "official", VIZ, "The answer is B. A is not", 1),
    ("spatialviz", "official", VIZ, "correct path B", 0),
    ("spatialviz", "lmms_eval", VIZ, "correct path B", 1),
    ("spatialviz", "lmms_eval", VIZ, "<answer>B</answer>", 1),
    ("spatialviz", "vlmevalkit", VIZ, "B.", 1),
    # OSI-Bench: the last number; the first standing capital
    ("osi_bench", "official", OSI, "C", 1),
    ("osi_bench", "official", OSI, "A tree is near. C", 0),
    ("osi_bench", "official", OSI, "The answer is [C]", 1),
    ("osi_bench", "official", OSI, "Cats", 1),
    ("osi_bench", "lmms_eval", OSI, "The answer is C", 1),
    ("osi_bench", "vlmevalkit", OSI, "It is C.", 1),
    ("osi_bench", "official", OSI_N, "between 3 and 10", 1),
    ("osi_bench", "official", OSI_N, "13", 0.5),
    ("osi_bench", "official", OSI_N, "1,0", 1),
    ("osi_bench", "official", OSI_STILL, "0.29", 1),
    ("osi_bench", "official", OSI_STILL, "-5", 1),
    ("osi_bench", "official", OSI_STILL, "0.35", 0.7),
    ("osi_bench", "official", OSI_LONG, "1.9", 1),
    ("osi_bench", "official", OSI_ZERO, "0.1", 0),
    ("osi_bench", "official", OSI_ZERO, "0", 1),
    ("osi_bench", "vlmevalkit", OSI_STILL, "0.1 m/s", 1),
    # Points: what an integer means
    ("refspatial", "official", POINT, "[(0.75, 0.5)]", 1),
    ("refspatial", "official", POINT, "[(150, 50)]", 1),
    ("refspatial", "official", POINT, "[(0.75, 0.5), (0.25, 0.5)]", 0.5),
    ("refspatial", "official", POINT, "[(0.75, 0.5), (0.25, 0.5), (1.5, 0.5), (-0.5, 0.5)]", 0.25),
    ("refspatial", "official", POINT, "(0.25, 0.0, 0.75, 1.0)", 0.5),
    ("refspatial", "official", POINT, "(0, 0, 1, 1)", 0.5),
    ("refspatial", "official", POINT, "(0.75,0.5 )", 0),
    ("refspatial", "official", POINT, "(.75, .5)", 0),
    ("refspatial", "official", POINT, "I see nothing", 0),
    ("refspatial", "lmms_eval", POINT, "[(150, 50)]", 0),
    ("refspatial", "lmms_eval", POINT, "[(0.75, 0.5), (0, 0, 1, 1)]", 1),
    ("refspatial", "lmms_eval_json", POINT, '[{"point_2d": [750, 500]}]', 1),
    ("refspatial", "lmms_eval_json", POINT, "(0.75 , 0.5)", 1),
    ("refspatial", "lmms_eval_json", POINT, "[512.0, 500.0]", 0),
    ("refspatial", "vlmevalkit", POINT, '```json\n[{"point_2d": [750, 500], "label": "p"}]\n```', 1),
    ("refspatial", "vlmevalkit", POINT, "{'point': (0.75, 0.5)}", 1),
    ("refspatial", "vlmevalkit", POINT, '[{"point_2d": [1e9, 500]}]', 1),
    ("refspatial", "vlmevalkit", POINT, 'Here: [{"point_2d": [750, 500]}]', 0),
    ("refspatial", "vlmevalkit", POINT, "(750, 50)", 1),
    ("refspatial", "vlmevalkit", POINT, "(0, 0, 200, 100)", 0.5),
    ("refspatial", "vlmevalkit", POINT, "(-100, 0, 100, 100)", 0),
    ("where2place", "official", WIDE, "[(0.75, 0.5)]", 1),
    ("where2place", "official", WIDE, "[(400, 50)]", 1),
    ("where2place", "official", POINT, "[(0.2, 0.1)]", 1),
    ("where2place", "official", GREY, "[(400, 50)]", 0.2),
    ("where2place", "official", WIDE, "(300, 0, 340, 10)", 0.5),
    ("where2place", "lmms_eval", WIDE, "[(400, 50)]", 0),
    ("where2place", "lmms_eval_json", WIDE, "[750, 500]", 1),
    ("where2place", "vlmevalkit", WIDE, "(400, 50)", 1),
    ("robospatial_home", "official", YES, " Yes, it can", 1),
    ("robospatial_home", "official", NO, "not sure", 1),
    ("robospatial_home", "official", YES, "I think yes", 0),
    ("robospatial_home", "official", PLACE, "[(0.5, 0.5), (0.9, 0.9)]", 1),
    ("robospatial_home", "official", PLACE, "[0.5, 0.5] or (0.9, 0.9)", 0),
    ("robospatial_home", "official", PLACE, "[[0.5, 0.5]]", 1),
    ("robospatial_home", "official", PLACE, "[(.5, .5)]", 1),
    ("robospatial_home", "official", PLACE, "50, 50", 0),
    ("robospatial_home", "official", PLACE, "(0.2, 0.2)", 1),
    ("robospatial_home", "official", PLACE, "(0.8, 0.8)", 0),
    ("robospatial_home", "vlmevalkit", PLACE, '[{"point_2d": [500, 500]}]', 1),
    ("robospatial_home", "vlmevalkit", PLACE, "(0.8, 0.8)", 1),
    ("robospatial_home", "vlmevalkit", PLACE, "(0.2, 0.2)", 0),
    ("pointbench", "official", PB, 'Sure: [{"point": [150, 50]}, {"point": [1, 1]}]', 1),
    ("pointbench", "official", PB, "(150, 50)", 0),
    ("pointbench", "official", PB_COUNT, '[{"point": [150, 50]}, {"point": [160, 50]}]', 1),
    ("pointbench", "official", PB_COUNT, '[{"point": [150, 50]}]', 0),
    ("pointbench", "lmms_eval", PB, "(0.75, 0.5)", 1),
    ("pointbench", "lmms_eval", PB, "(750, 500)", 1),
    ("pointbench", "lmms_eval", PB, "(1, 1)", 0),
    ("pointbench", "lmms_eval", PB_COUNT, "(0.75, 0.5), (0.25, 0.5)", 0),
    ("vsi_super_recall", "official", LONG, "C", 1),
    ("vsi_super_recall", "official", LONG, "The answer is C", 0),
    ("vsi_super_recall", "lmms_eval", LONG, "(c)", 1),
    ("vsi_super_recall", "vlmevalkit", LONG, "The answer is C", 1),
    ("vsi_super_count", "official", COUNT, "9 or 10", 0.9),
    ("vsi_super_count", "official", COUNT_ZERO, "none", 1),
    ("vsi_super_count", "official", STREAM, "[1, 2]", 0.55),
    ("vsi_super_count", "official", STREAM, "1, 4, 8", 0),
    ("vsi_super_count", "lmms_eval", COUNT, "ten", 0),
    ("vsi_super_count", "vlmevalkit", COUNT, "ten", 1),
    ("vsi_super_count", "vlmevalkit", COUNT, "9 or 10", 1),
]

_KEYS = {
    "revsi": "ground_truth",
    "vsi_debiased": "ground_truth",
    "mmsi_video": "ground_truth",
    "sti_bench": "Answer",
    "spatialviz": "Answer",
}
_POINTS = {
    ("refspatial", "lmms_eval_json"): ("[750, 500]", "[10, 500]"),
    ("where2place", "official"): ("[(400, 50)]", "[(0, 0), (700, 3)]"),
    ("pointbench", "official"): ('[{"point": [150, 50]}]', '[{"point": [1, 50]}]'),
}


def right_and_wrong(name, scoring, item):
    """A bare right answer and a bare wrong one."""
    if "mask" in item:
        return _POINTS.get((name, scoring), ("[(0.75, 0.5)]", "[(0.01, 0.5), (0.02, 0.3)]"))
    gold = str(item[_KEYS.get(name, "answer")])
    if name == "robospatial_home":
        return ("(0.5, 0.5)", "(0.1, 0.1)") if gold.startswith("[") else (gold, "no" if gold == "yes" else "yes")
    if gold.replace(".", "").isdigit():
        return gold, "8888"
    return gold, "A" if gold != "A" else "B"
