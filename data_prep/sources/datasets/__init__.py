"""Readers of published datasets' own folders, as they are downloaded: pictures, depth, cameras and 3-D boxes."""
