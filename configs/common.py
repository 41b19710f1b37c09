"""What recipes share: the defaults of every key, and small edits that several recipes make."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from spatial_jax import config as run_config


def base(**sections: dict[str, Any]) -> ConfigDict:
    """Every key with its default, edited: base(train=dict(steps=10), rollout=dict(group_size=8)). A key that does not
    exist is an error.
    """
    config = run_config.default()
    for section, values in sections.items():
        for key, value in values.items():
            if key not in config[section]:
                raise KeyError(f"config.{section}.{key} is not a key of the configuration")
            config[section][key] = value
    return config


def on_one_device(config: ConfigDict) -> ConfigDict:
    """The same run on a laptop or one GPU."""
    config.mesh.update({"data": 1, "fsdp": 1, "tensor": 1})
    return config
