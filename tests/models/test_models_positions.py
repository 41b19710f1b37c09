"""M-RoPE positions: the rules where transformers' versions differ, decode offsets, errors."""

import dataclasses

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch

from spatial_jax.models import config_from_hf, row_positions
from spatial_jax.models.positions import batch_positions


def config(rule="qwen", family="qwen2_5_vl"):
    return dataclasses.replace(config_from_hf(tiny.hf_config(family).to_dict()), position_rule=rule)


def test_text_after_a_long_video_follows_the_chosen_rule():
    # 4 grids at 1.5 s and 2 tokens a second: time ids 0, 3, 6, 9 on a 2 x 3 grid.
    types = np.array([0] + [2] * 24 + [0, 0])
    new, following = row_positions(types, [(4, 4, 6)], config("qwen"), [1.5])
    old, old_following = row_positions(types, [(4, 4, 6)], config("hf5"), [1.5])
    assert new[0, 1:25].tolist() == [1] * 6 + [4] * 6 + [7] * 6 + [10] * 6
    assert new[1, 1:7].tolist() == [1, 1, 1, 2, 2, 2] and new[2, 1:7].tolist() == [1, 2, 3, 1, 2, 3]
    assert new[:, 25].tolist() == [11] * 3 and following == 13
    assert old[:, 25].tolist() == [4] * 3 and old_following == 6
    np.testing.assert_array_equal(new[:, :25], old[:, :25])


def published_rule(grid, seconds, before, after, cut=False, per_second=2):
    """Positions of text, one video and text by Qwen's published training code, in torch; cut: as transformers 4.57.3
    takes the seconds.
    """
    t, h, w = grid[0], grid[1] // 2, grid[2] // 2
    seconds = torch.as_tensor(seconds, dtype=torch.long) if cut else seconds
    times = (torch.arange(t).view(-1, 1).expand(-1, h * w) * seconds * per_second).long().flatten()
    rows = torch.arange(h).view(1, -1, 1).expand(t, -1, w).flatten()
    columns = torch.arange(w).view(1, 1, -1).expand(t, h, -1).flatten()
    video = torch.stack([times, rows, columns]) + before
    text = torch.arange(after).expand(3, -1) + video.max() + 1
    return torch.cat([torch.arange(before).expand(3, -1), video, text], dim=1).numpy()


@pytest.mark.parametrize("seconds", [0.5, 1.0, 0.7, 1.0 / 3, 2.0 / 1.9, 1.5, 4.004])
def test_the_default_is_the_rule_of_qwens_training_code_and_4_57_cuts_the_seconds(seconds):
    for grid in ((1, 4, 6), (3, 4, 6), (12, 4, 4), (40, 2, 8)):
        types = np.array([0] * 3 + [2] * (grid[0] * grid[1] * grid[2] // 4) + [0] * 5)
        for rule, cut in (("qwen", False), ("4.57", True)):
            ours, following = row_positions(types, [grid], config(rule), [seconds])
            expected = published_rule(grid, seconds, 3, 5, cut)
            np.testing.assert_array_equal(ours, expected)
            assert following == expected.max() + 1
    assert config_from_hf(tiny.hf_config("qwen2_5_vl").to_dict()).position_rule == "qwen"


def test_both_rules_agree_on_images_and_qwen2_videos_step_by_one():
    types = np.array([0, 1, 1, 1, 1, 1, 1, 0])
    for rule in ("qwen", "4.57", "hf5"):
        positions, following = row_positions(types, [(1, 4, 6)], config(rule))
        assert positions[:, -1].tolist() == [4] * 3 and following == 5
    positions, _ = row_positions(np.full(12, 2), [(2, 4, 6)], config(family="qwen2_vl"), [9.0])
    assert positions[0].tolist() == [0] * 6 + [1] * 6


def test_qwen3_video_frames_are_runs_of_their_own():
    types = np.array([2] * 6 + [0] + [2] * 6)
    positions, following = row_positions(types, [(2, 4, 6)], config(family="qwen3_vl"))
    assert positions[0].tolist() == [0] * 6 + [3] + [4] * 6 and following == 7


def test_padding_is_zero_and_rows_take_their_own_grids():
    inputs = tiny.make_inputs(tiny.hf_config("qwen2_5_vl"), tiny.CASES["mixed"], "left")
    positions, following = batch_positions(
        inputs["input_ids"],
        config(),
        inputs["attention_mask"],
        inputs["image_grid_thw"],
        inputs["video_grid_thw"],
        inputs["second_per_grid_ts"],
    )
    mask = inputs["attention_mask"].astype(bool)
    assert (positions[:, ~mask] == 0).all()
    assert following.tolist() == [int(positions[:, row, mask[row]].max()) + 1 for row in range(3)]


@pytest.mark.parametrize(
    "grids, message", [([], "do not match"), ([(1, 4, 6), (1, 4, 6)], "more grids"), ([(1, 8, 6)], "do not match")]
)
def test_grids_that_do_not_fit_the_tokens_are_refused(grids, message):
    with pytest.raises(ValueError, match=message):
        row_positions(np.array([0] + [1] * 6), grids, config())
