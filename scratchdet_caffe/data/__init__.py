"""Data: VOC folders, AnnotatedDatum LMDBs, SSD's augmentation, the loader. Free of torch.

The engine's AnnotatedData layer needs `Batches`; tools that look into an LMDB need `Database`.
"""

from scratchdet_caffe.data.database import Database, write_database
from scratchdet_caffe.data.labelmap import (
    class_names,
    labels_by_name,
    make_label_map,
    read_label_map,
)
from scratchdet_caffe.data.loader import Batches
from scratchdet_caffe.data.transform import Transformer

__all__ = [
    "Batches",
    "Database",
    "Transformer",
    "class_names",
    "labels_by_name",
    "make_label_map",
    "read_label_map",
    "write_database",
]
