"""DPO's pairs: a question that comes back beside other questions may get another rejected answer, and then other
reference log-probabilities.
"""

import dataclasses

import numpy as np
import pytest
from question_sets import make_policy_folder, record

from configs import quickstart
from spatial_jax import config as run_config
from spatial_jax.data.encode import SampleEncoder
from spatial_jax.data.fresh import SIZES
from spatial_jax.data.prompts import PromptStyle
from spatial_jax.models import QwenVL, read_config, save_pretrained, split_model
from spatial_jax.training.dpo import Dpo
from spatial_jax.training.setup import make_setup


@pytest.fixture(scope="module")
def dpo(tmp_path_factory):
    from flax import nnx

    folder = make_policy_folder(tmp_path_factory.mktemp("dpo"))
    told = read_config(folder)
    config = SIZES["tiny"](told.text.vocab_size)
    config = dataclasses.replace(
        config,
        **{
            name: getattr(told, name)
            for name in (
                "image_token_id",
                "video_token_id",
                "vision_start_token_id",
                "vision_end_token_id",
                "bos_token_id",
                "eos_token_id",
                "pad_token_id",
            )
        },
    )
    save_pretrained((config, split_model(QwenVL(config, rngs=nnx.Rngs(0)))[1]), folder, folder)
    run = quickstart.get_config("sft")
    run.model.path, run.run.method = str(folder), "dpo"
    run.data.update({"prompt_buckets": (96,), "max_pixels": 112 * 112})
    run.run.update({"steps": 1, "prompts": 2, "update_prompts": 2, "micro_prompts": 2})
    setup = make_setup(run_config.strict(run), folder)
    return Dpo(setup), SampleEncoder(setup.processor, PromptStyle("bare", ""))


def test_reference_belongs_to_the_pair_at_hand(dpo):
    method, encoder = dpo
    first, red, blue = (
        encoder.finish(encoder.encode(record(i, options=(), answer=answer)))
        for i, answer in enumerate(("cup", "red lamp", "blue box by the wall"))
    )

    def fresh(pair):
        method._cached.clear()
        (batch,), _ = method.minibatches(pair)[0]
        return np.asarray(batch.ref_logp[0])

    expected = fresh([first, blue])
    fresh([first, red])
    (batch,), _ = method.minibatches([first, blue])[
        0
    ]  # `first` is known from the batch before, with another rejected answer
    np.testing.assert_allclose(np.asarray(batch.ref_logp[0]), expected, atol=1e-5)
