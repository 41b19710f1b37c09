"""Self-contained HTML pages: everything escaped, nothing loaded from anywhere, light and dark. No JAX."""
from spatial_jax.pages.clouds import Cuboid, render_cloud, unproject
from spatial_jax.pages.html import Html, callout, chip, command, details, escape, join, number_cards, searchable, tabs, tag
from spatial_jax.pages.page import Page
from spatial_jax.pages.pictures import (
    Box,
    Point,
    data_uri,
    depth_colors,
    depth_legend,
    depth_picture,
    mask_layer,
    open_picture,
    picture,
    read_depth,
    read_mask,
    turbo,
)
from spatial_jax.pages.plots import Band, Series, bar_list, heatmap, histogram, legend, line_plot, short, smoothed, stacked_bars
from spatial_jax.pages.tables import Estimate, change_cell, estimate_cell, interval_bar, table

__all__ = [
    "Band", "Box", "Cuboid", "Estimate", "Html", "Page", "Point", "Series", "bar_list", "callout", "change_cell", "chip", "command", "data_uri",
    "depth_colors", "depth_legend", "depth_picture", "details", "escape", "estimate_cell", "heatmap", "histogram", "interval_bar", "join",
    "legend", "line_plot", "mask_layer", "number_cards", "open_picture", "picture", "read_depth", "read_mask", "render_cloud", "searchable",
    "short", "smoothed", "stacked_bars", "table", "tabs", "tag", "turbo", "unproject",
]
