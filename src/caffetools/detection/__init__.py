"""Detection data: images with boxes, detections in them, and how good these are."""
