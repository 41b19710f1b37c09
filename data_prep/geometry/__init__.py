"""Geometry of annotated pictures: clouds, boxes, planes, distances, relations, and the uncertainty of each."""
