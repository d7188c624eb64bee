"""Data: VOC folders, AnnotatedDatum LMDBs, SSD's augmentation, the loader. Free of torch."""
