"""Which of a record's frames are asked about."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from spatial_jax.data.prompts import PromptStyle, is_video, video_facts
from spatial_jax.data.records import QuestionRecord
from spatial_jax.processing import Video
from spatial_jax.processing.video import VideoSettings, sample_video, with_frames


def choose_record_frames(record: QuestionRecord, style: PromptStyle, settings: VideoSettings) -> QuestionRecord:
    """A clip's record with the frames that the style asks for, chosen as the checkpoint's processor does it; other
    records, and clips of a style that asks for none, as they are. ValueError where frames a second are asked for and
    the record does not tell its clip's rate.
    """
    if (style.frames is None and style.fps is None) or not is_video(record) or len(record.images) < 2:
        return record
    facts = video_facts(record)
    if style.fps is not None and facts.get("fps") is None:
        raise ValueError(
            "the record does not tell its clip's rate (meta: video.fps), by which config.data.fps would choose frames;"
            " set config.data.frames in its place"
        )
    clip = Video(list(range(len(record.images))), **facts)
    chosen = sample_video(clip, with_frames(settings, style.frames, style.fps))
    kept, meta = list(chosen.frames), record.json_field("meta")
    meta["video"] = {**meta["video"], "indices": [int(i) for i in chosen.frame_indices], "total": chosen.total}
    if chosen.times is not None:
        meta["video"]["times"] = [float(t) for t in chosen.times]
    columns: dict[str, Any] = {
        name: tuple(getattr(record, name)[i] for i in kept) for name in ("images", "widths", "heights")
    }
    return dataclasses.replace(record, meta=json.dumps(meta), **columns)
