"""Scorer cases of the general-ability benchmarks, and a right and a wrong answer to each."""

MMB = {"index": 3, "answer": "B", "A": "cat", "B": "dog", "C": "cow", "D": "hen", "question": "q", "hint": "nan"}
STAR = {"answer": "B", "question": "q Options: A: x y, B: z, C: w, D: v", "category": "math", "l2_category": "geometry"}
HALL = {
    "category": "VD",
    "subcategory": "ocr",
    "set_id": "0",
    "figure_id": "1",
    "question_id": "0",
    "question": "q",
    "gt_answer": "1",
}
HALL_NO = {**HALL, "gt_answer": "0"}
HALL_BARE = {**HALL, "category": "VS", "figure_id": "0"}
OCR = {
    "question": "q",
    "answer": ["Stop Sign", "stop"],
    "question_type": "Regular Text Recognition",
    "dataset": "IIIT5K",
}
OCR_M = {
    "question": "q",
    "answer": ["x ^ { 2 }"],
    "question_type": "Handwritten Mathematical Expression Recognition",
    "dataset": "HME100k",
}
DOC = {"question": "q", "answers": ["abcd", "Main Street"]}
DOC_N = {"question": "q", "answers": ["5"]}
TEXT = {"question": "Which Bus?", "answers": ["two"] * 3 + ["2"] * 3 + ["the bus"] * 4}
TEXT_ONE = {"question": "q", "answers": ["Coca-Cola"] * 10}
TEXT_FEW = {"question": "q", "answers": ["a"] * 4 + ["nokia"] * 2 + list("bcde")}
CHART, CHART_P, CHART_Z = ({"question": "q", "answer": [gold], "type": "human_test"} for gold in ("20", "50%", "0"))
CHART_W = {"question": "q", "answer": ["Yes"], "type": "augmented_test"}
CHART_R = {"question": "q", "answer": ["0.25"], "type": "human_test"}
MME = {"question": "Is it? Please answer yes or no.", "answer": "Yes", "category": "OCR", "question_id": "a.png"}
MME_NO = {**MME, "answer": "No"}
POPE = {"question": "Is there a cup in the image?", "answer": "yes", "category": "random"}
POPE_NO = {**POPE, "answer": "no"}
AI2D = {"question": "q", "options": ["cat", "dog", "cow", "hen"], "answer": "1"}
SEED = {
    "question": "q",
    "choice_a": "cat",
    "choice_b": "dog",
    "choice_c": "cow",
    "choice_d": "hen",
    "answer": "B",
    "question_type_id": 3,
}

CASES_GENERAL = [
    ("mmbench", "official", MMB, "B", 1),
    ("mmbench", "official", MMB, "It is the dog.", 1),
    ("mmbench", "official", MMB, "The answer is B because it barks and runs", 1),
    ("mmbench", "official", MMB, "Z", 0),
    ("mmbench", "vlmevalkit", MMB, "B. dog", 1),
    ("mmbench", "lmms_eval", MMB, "B. dog", 1),
    ("mmbench", "lmms_eval", MMB, "(B)", 1),
    ("mmbench", "lmms_eval", MMB, "A tall B", 0),
    ("mmbench", "lmms_eval", MMB, "a dog it seems", 1),
    ("mmstar", "official", STAR, "b: z", 1),
    ("mmstar", "official", STAR, "The answer is B", 1),
    ("mmstar", "official", STAR, "Option B", 1),
    ("mmstar", "official", STAR, "(B)", 1),
    ("mmstar", "official", STAR, "Answer: B", 0),
    ("mmstar", "official", {**STAR, "answer": "A"}, "answer: b", 1),
    ("mmstar", "lmms_eval", STAR, "Answer: B", 1),
    ("mmstar", "vlmevalkit", STAR, "I think z", 1),
    ("hallusionbench", "official", HALL, "Yes, it is.", 1),
    ("hallusionbench", "official", HALL, "yes,no", 0),
    ("hallusionbench", "official", HALL, "**Yes**", 0),
    ("hallusionbench", "official", {**HALL, "judge": "1"}, "whatever", 1),
    ("hallusionbench", "official", {**HALL, "judge": 2}, "Yes", 0),
    ("hallusionbench", "official", {**HALL_BARE, "judge": 2}, "I see nothing", 1),
    ("hallusionbench", "vlmevalkit", HALL, "\\boxed{Yes}", 1),
    ("hallusionbench", "vlmevalkit", HALL_NO, "Not at all", 0),
    ("hallusionbench", "vlmevalkit", {"category": "VD", "question": "q", "answer": "No"}, "<answer>No</answer>", 1),
    ("hallusionbench", "lmms_eval", HALL_NO, "Not at all", 1),
    ("hallusionbench", "lmms_eval", HALL, "eyes", 1),
    ("ocrbench", "official", OCR, "It says\nSTOP", 1),
    ("ocrbench", "official", OCR, "st op", 0),
    ("ocrbench", "official", OCR, "\uff33\uff34\uff2f\uff30", 0),
    ("ocrbench", "lmms_eval", OCR, "\uff33\uff34\uff2f\uff30", 1),
    ("ocrbench", "vlmevalkit", OCR_M, "y = x^{2}", 1),
    ("ocrbench", "official", OCR_M, "X^{2}", 0),
    ("docvqa", "official", DOC, "ABCD", 1),
    ("docvqa", "official", DOC, "ab", 0.5),
    ("docvqa", "official", DOC, "a", 0),
    ("docvqa", "official", DOC, " main   street ", 1),
    ("docvqa", "official", DOC, "main str", 1 - 3 / 11),
    ("docvqa", "official", DOC_N, "$5", 0.5),
    ("docvqa", "lmms_eval", DOC_N, "  9  ", 1 - 1 / 5),
    ("docvqa", "vlmevalkit", DOC, "abce", 0.75),
    ("textvqa", "official", TEXT, "2", 1),
    ("textvqa", "official", TEXT, "Two.", 1),
    ("textvqa", "official", TEXT, "bus", 1),
    ("textvqa", "official", TEXT_ONE, "coca-cola", 0),
    ("textvqa", "official", TEXT_ONE, "Coca-Cola", 1),
    ("textvqa", "vlmevalkit", TEXT_ONE, "coca cola", 1),
    ("textvqa", "lmms_eval", TEXT_ONE, "COCA-COLA", 1),
    ("textvqa", "official", TEXT_FEW, "Nokia", 0.6),
    ("textvqa", "official", TEXT_FEW, "b", 0.3),
    ("textvqa", "official", {"question": "q", "answers": ["x"]}, "x", 0),
    ("textvqa", "lmms_eval", {"question": "q", "answers": ["3.", "3"] * 5}, "3", 1),
    ("textvqa", "vlmevalkit", {"question": "q", "answers": ["3.", "4"] * 5}, "3", 0),
    ("chartqa", "official", CHART, "21", 1),
    ("chartqa", "official", CHART, "21.05", 0),
    ("chartqa", "official", CHART, " 20 ", 1),
    ("chartqa", "official", CHART, "$20", 0),
    ("chartqa", "official", CHART_P, "0.5", 1),
    ("chartqa", "official", CHART_P, "50", 0),
    ("chartqa", "official", CHART_Z, "0.0", 0),
    ("chartqa", "official", CHART_Z, "0", 1),
    ("chartqa", "official", CHART_W, "yes", 1),
    ("chartqa", "official", CHART_W, "Yes.", 0),
    ("chartqa", "lmms_eval", CHART_W, " yes", 0),
    ("chartqa", "vlmevalkit", CHART, "2e1", 1),
    ("chartqa", "spatial_ssrl", CHART, "so \\boxed{21.05}", 1),
    ("chartqa", "spatial_ssrl", CHART_R, "1:4", 1),
    ("mme", "official", MME, "Yes, it is", 1),
    ("mme", "official", MME_NO, "know that", 1),
    ("mme", "official", MME, "It is: yes", 0),
    ("mme", "lmms_eval", MME, " y.", 1),
    ("mme", "vlmevalkit", MME, "I would say yes", 1),
    ("pope", "official", POPE, "There is a cup.", 1),
    ("pope", "official", POPE_NO, "No, there is not", 1),
    ("pope", "official", POPE_NO, "NO", 0),
    ("pope", "official", POPE_NO, "no\n", 0),
    ("pope", "lmms_eval", POPE, "Yes", 1),
    ("pope", "lmms_eval", POPE, "Yes.", 0),
    ("pope", "vlmevalkit", POPE_NO, "no.", 1),
    ("ai2d", "official", AI2D, "B. dog", 1),
    ("ai2d", "official", AI2D, "(b)", 1),
    ("ai2d", "official", AI2D, "B) dog", 0),
    ("ai2d", "lmms_eval", AI2D, "The answer is B", 0),
    ("ai2d", "vlmevalkit", AI2D, "The answer is B", 1),
    ("seed_bench", "official", SEED, "because", 1),
    ("seed_bench", "official", SEED, "(B)", 0),
    ("seed_bench", "lmms_eval", SEED, " b", 1),
    ("seed_bench", "vlmevalkit", SEED, "the dog", 1),
]


def right_and_wrong(name, scoring, item):
    """A bare right answer and a bare wrong one."""
    if name == "hallusionbench":
        gold = {"1": "Yes", "0": "No"}.get(item.get("gt_answer"), item.get("answer"))
        return gold, "No" if gold == "Yes" else "Yes"
    gold = item.get("answers", item.get("answer"))
    if name == "ai2d":
        return "B", "A"
    if name in ("docvqa", "textvqa", "chartqa", "ocrbench"):
        return max(gold, key=gold.count), "7777777777777777"
    if name in ("mme", "pope"):
        return gold, "no" if gold.lower() == "yes" else "yes"
    return gold, "C" if gold != "C" else "D"
