"""Detection maths: pure functions over the tensors of a whole batch.

`boxes` (overlap), `coding` (offsets from priors), `priors`; `groundtruth`, `matching`, `mining`,
`losses`, and `multibox`, which puts them together into SSD's loss; `ranking` and `nms`, and
`output`, which makes detections of them; `evaluate` and `pixels`, which judge detections.

Boxes are (..., 4) float32: xmin, ymin, xmax, ymax, normalised 0-1 unless said otherwise. On a
CPU every function returns the same bits for the same input.
"""
