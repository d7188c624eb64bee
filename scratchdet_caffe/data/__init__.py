"""Data: VOC folders, AnnotatedDatum LMDBs, SSD's augmentation, the loader. Free of torch.

The engine's AnnotatedData layer needs `Batches`; tools that look into an LMDB need `Database`.
"""

from scratchdet_caffe.data.database import Database, write_database
from scratchdet_caffe.data.loader import Batches
from scratchdet_caffe.data.transform import Transformer

__all__ = ["Batches", "Database", "Transformer", "write_database"]
