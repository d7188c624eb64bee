#!/usr/bin/env python3
"""Write caffe_pb2.py, the messages of caffe.proto in Python, for the protobuf of PyPI.

    python_proto.py CAFFE.PROTO CAFFE_PB2.PY

What protoc itself writes fits the protobuf of its own release: that of Ubuntu 22.04 (3.12) writes
a module that no protobuf since 4 imports. The compiled description of the messages is the same for
all of them, and a module is made of that when it is imported.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2

MODULE = '''\
"""The messages of caffe.proto. Written by python_proto.py."""

from google.protobuf import descriptor_pool
from google.protobuf.internal import builder

DESCRIPTOR = descriptor_pool.Default().AddSerializedFile({serialized!r})
builder.BuildMessageAndEnumDescriptors(DESCRIPTOR, globals())
builder.BuildTopDescriptorsAndMessages(DESCRIPTOR, __name__, globals())
'''


def main(source: str, target: str) -> None:
    """Let protoc compile ``source``, and write the module ``target``."""
    folder, name = Path(source).parent, Path(source).name
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(
            ["protoc", f"--proto_path={folder}", f"--descriptor_set_out={out.name}", name],
            check=True,
        )
        (compiled,) = descriptor_pb2.FileDescriptorSet.FromString(out.read()).file
    Path(target).write_text(MODULE.format(serialized=compiled.SerializeToString()))


if __name__ == "__main__":
    main(*sys.argv[1:])
