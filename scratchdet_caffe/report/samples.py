"""Some pictures of the set that a job was tested on, with what was found in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scratchdet_caffe.caffeproto import caffe_pb2 as pb
from scratchdet_caffe.caffeproto import read_net
from scratchdet_caffe.data.pixels import pixels_of
from scratchdet_caffe.data.sources import open_records
from scratchdet_caffe.errors import UserError
from scratchdet_caffe.report.job import JobFolder
from scratchdet_caffe.report.page import Picture


def some_pictures(job: JobFolder, count: int) -> list[Picture]:
    """Return ``count`` images, evenly over the scored test set, with their pixels.

    Without results, or where the database is not at hand, there are none.
    """
    model = job.path / "test.prototxt"
    if job.results is None or not model.exists() or count < 1:
        return []
    net = read_net(model)
    layers = [layer for layer in net.layer if layer.type == "AnnotatedData"]
    source = layers[0].data_param.source if layers else ""
    if not Path(source or "nowhere").exists():
        print(f"report: no pictures: {source or 'the database'} is not here")
        return []
    database, images = open_records(layers[0], pb.TEST), job.results.images
    if len(database) != len(images):
        raise UserError(
            f"{source} holds {len(database)} images, but {job.path}/results/detections.json "
            f"has {len(images)}: run evaluate again"
        )
    chosen = np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).round())
    return [(images[int(i)], pixels_of(database.record(int(i)).datum)) for i in chosen]
