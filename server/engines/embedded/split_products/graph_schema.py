"""The part of ONNX's protobuf schema that changing the nodes of a graph needs (onnx.proto, field numbers as there).

What is not declared here is kept as it is when a graph is read and written: protobuf's unknown fields. So the server
needs no `onnx`.
"""

from functools import lru_cache
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FLOAT: Final = 1
UINT16: Final = 4
"""Values of `TensorProto.data_type`."""
EXTERNAL: Final = 1
"""A value of `TensorProto.data_location`."""

_TEXT: Final = descriptor_pb2.FieldDescriptorProto.TYPE_STRING
_BYTES: Final = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
_INT: Final = descriptor_pb2.FieldDescriptorProto.TYPE_INT64

_MESSAGES: Final[dict[str, list[tuple[str, int, int | str, bool]]]] = {
    "ModelProto": [
        ("graph", 7, "GraphProto", False),
        ("opset_import", 8, "OperatorSetIdProto", True),
        ("metadata_props", 14, "StringStringEntryProto", True),
    ],
    "OperatorSetIdProto": [("domain", 1, _TEXT, False), ("version", 2, _INT, False)],
    "GraphProto": [
        ("node", 1, "NodeProto", True),
        ("initializer", 5, "TensorProto", True),
        ("output", 12, "ValueInfoProto", True),
    ],
    "NodeProto": [
        ("input", 1, _TEXT, True),
        ("output", 2, _TEXT, True),
        ("op_type", 4, _TEXT, False),
        ("attribute", 5, "AttributeProto", True),
        ("domain", 7, _TEXT, False),
    ],
    "AttributeProto": [("g", 6, _BYTES, False), ("graphs", 11, _BYTES, True)],  # graphs within nodes, unread
    "ValueInfoProto": [("name", 1, _TEXT, False)],
    "TensorProto": [
        ("dims", 1, _INT, True),
        ("data_type", 2, _INT, False),
        ("name", 8, _TEXT, False),
        ("raw_data", 9, _BYTES, False),
        ("external_data", 13, "StringStringEntryProto", True),
        ("data_location", 14, _INT, False),
    ],
    "StringStringEntryProto": [("key", 1, _TEXT, False), ("value", 2, _TEXT, False)],
}
"""Name, number, type (a name is a message's), and whether it is repeated."""


@lru_cache(maxsize=1)
def model_class() -> Any:
    """The class of `ModelProto`."""
    package: Final = "roundhouse.onnx"
    file = descriptor_pb2.FileDescriptorProto(name="roundhouse/onnx.proto", package=package, syntax="proto2")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, is_repeated in fields:
            added = message.field.add(name=field, number=number)
            added.label = added.LABEL_REPEATED if is_repeated else added.LABEL_OPTIONAL
            if isinstance(kind, str):
                added.type, added.type_name = added.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                added.type = kind  # type: ignore[assignment]  # the stub's enum is an int here
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.ModelProto"))
