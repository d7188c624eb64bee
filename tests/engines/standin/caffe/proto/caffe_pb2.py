"""The message classes of SSD-Caffe; with STANDIN=refinedet, those of its RefineDet fork."""

import os
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import scratchdet_caffe.caffeproto as ours

_file = descriptor_pb2.FileDescriptorSet.FromString(
    Path(ours.__file__).with_name("caffe.desc").read_bytes()
).file[0]
if os.environ.get("STANDIN") != "refinedet":
    for _message in _file.message_type:
        for _field in [f for f in _message.field if f.name == "objectness_score"]:
            _message.field.remove(_field)
_pool = descriptor_pool.DescriptorPool()
_pool.Add(_file)
globals().update(
    message_factory.GetMessageClassesForFiles([_file.name], _pool)
    and {
        descriptor.name: message_factory.GetMessageClass(descriptor)
        for descriptor in _pool.FindFileByName(_file.name).message_types_by_name.values()
    }
)
TRAIN, TEST = 0, 1
