"""The message classes of caffe.proto (``LayerParameter``, ``NetParameter``, ``TRAIN``, ...).

The compiled schema (``caffe.desc``) is loaded at import instead of shipping protoc's Python
output: that output binds to one protobuf release, while a descriptor works with all of them.
The classes live in a pool of their own, so that the real ``caffe``, which registers a schema
of the same name, can be imported into the same process.
"""

from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper


def _load() -> dict[str, object]:
    compiled = resources.files(__package__).joinpath("caffe.desc").read_bytes()
    (file,) = descriptor_pb2.FileDescriptorSet.FromString(compiled).file
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    descriptor = pool.FindFileByName(file.name)
    names: dict[str, object] = {"DESCRIPTOR": descriptor}
    for name, message in descriptor.message_types_by_name.items():
        names[name] = message_factory.GetMessageClass(message)
    for name, enum in descriptor.enum_types_by_name.items():
        names[name] = enum_type_wrapper.EnumTypeWrapper(enum)
        names |= {value.name: value.number for value in enum.values}
    return names


globals().update(_load())
