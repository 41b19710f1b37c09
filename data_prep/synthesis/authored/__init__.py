"""Questions that a multimodal model writes on annotated pictures, kept only where our own rules find their answers."""
