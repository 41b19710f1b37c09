"""DPO's batches: reference log-probabilities of each pair, and questions without a wrong answer."""

import dataclasses

import numpy as np
import pytest
from flax import nnx
from question_sets import make_policy_folder, record, write

from configs import quickstart
from spatial_jax import config as run_config
from spatial_jax.data.encode import QuestionEncoder
from spatial_jax.data.fresh import SIZES
from spatial_jax.data.prompts import PromptStyle
from spatial_jax.models import QwenVL, read_config, save_pretrained, split_model
from spatial_jax.training.dpo import Dpo
from spatial_jax.training.setup import make_setup


@pytest.fixture(scope="module")
def dpo(tmp_path_factory):
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
    run.model.path, run.train.method = str(folder), "dpo"
    run.data.update({"prompt_buckets": (96,), "max_pixels": 112 * 112})
    run.train.update({"steps": 1, "prompts": 2, "update_prompts": 2, "micro_prompts": 2})
    setup = make_setup(run_config.strict(run), folder)
    return Dpo(setup), QuestionEncoder(setup.processor, PromptStyle("bare", ""))


def free(i, **changes):
    return record(
        i, options=(), question_type="free", reward='{"kind": "word"}', answer="a room with a view", **changes
    )


def test_reference_log_probabilities_are_kept_by_pair(dpo):
    method, encoder = dpo
    first, second = (encoder.finish(encoder.encode(record(i), "set", i)) for i in range(2))
    method._cached.clear()
    (batch,), count = method.minibatches([first, second])[0]
    assert count == 2 and np.asarray(batch.answers.loss_mask).any(-1).all()
    again = method.minibatches([second, first])[0][0][0]
    np.testing.assert_allclose(np.asarray(again.ref_logp)[::-1], np.asarray(batch.ref_logp), atol=1e-5)
    expected = method.scorer(method.reference, batch)
    np.testing.assert_allclose(np.asarray(batch.ref_logp), expected, atol=1e-5)


def test_a_question_without_a_wrong_answer_takes_no_part_and_is_counted(dpo):
    method, encoder = dpo
    paired, alone = (encoder.finish(encoder.encode(r, "set", i)) for i, r in enumerate((record(0), free(1)), 5))
    (batch,), count = method.minibatches([paired, alone])[0]
    assert count == 1 and np.asarray(batch.answers.loss_mask).any((1, 2)).tolist() == [True, False]
    loss = method.loss(nnx.merge(method.setup.graphdef, method.setup.params(method.setup.start.params)), batch, {})
    assert float(loss["pairs"]) == 1 and method.metrics([paired, alone], loss)["dpo/left_out"] == 1
    assert method.metrics([paired, alone], loss)["loss"] == pytest.approx(np.log(2), abs=1e-5)
    with pytest.raises(ValueError, match="none of 2 questions of a step has a wrong answer"):
        method.minibatches([alone, alone])


def test_a_run_counts_what_it_leaves_out_and_ends_where_that_is_everything(dpo, tmp_path, caplog):
    method, _ = dpo
    rows = [record(i) for i in range(3)] + [free(i, family="view") for i in range(3, 5)]
    for name, records in (("some", rows), ("none", rows[3:])):
        folder = write(tmp_path / name, records)
        data = dataclasses.replace(method.run.data, paths=(str(folder),))
        setup = dataclasses.replace(method.setup, run=dataclasses.replace(method.run, data=data))
        if name == "none":
            with pytest.raises(ValueError, match=r"no record of split train can be used.*no wrong answer"):
                Dpo(setup).stream()
        else:
            assert len(Dpo(setup).stream().sources[0]) == 3
            assert (
                "2 record(s) left out: no wrong answer of the right one's form can be made (reward word)" in caplog.text
            )
