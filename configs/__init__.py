"""Recipes: one file each, `get_config(arg)` -> ConfigDict, optionally `sweep()`."""
