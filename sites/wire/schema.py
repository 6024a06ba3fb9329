"""Sparkplug B's protobuf messages, declared from their published field numbers (ISO/IEC 20237)."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE: Final = "org.eclipse.tahu.protobuf"

# name, number, type; the last lists build each message's oneof "value".
_PROPERTY_VALUES: Final = (
    ("int_value", 3, _Field.TYPE_UINT32),
    ("long_value", 4, _Field.TYPE_UINT64),
    ("float_value", 5, _Field.TYPE_FLOAT),
    ("double_value", 6, _Field.TYPE_DOUBLE),
    ("boolean_value", 7, _Field.TYPE_BOOL),
    ("string_value", 8, _Field.TYPE_STRING),
    ("propertyset_value", 9, "Opaque"),
    ("propertysets_value", 10, "Opaque"),
    ("extension_value", 11, "Opaque"),
)
_METRIC_VALUES: Final = (
    ("int_value", 10, _Field.TYPE_UINT32),
    ("long_value", 11, _Field.TYPE_UINT64),
    ("float_value", 12, _Field.TYPE_FLOAT),
    ("double_value", 13, _Field.TYPE_DOUBLE),
    ("boolean_value", 14, _Field.TYPE_BOOL),
    ("string_value", 15, _Field.TYPE_STRING),
    ("bytes_value", 16, _Field.TYPE_BYTES),
    ("dataset_value", 17, "Opaque"),
    ("template_value", 18, "Opaque"),
    ("extension_value", 19, "Opaque"),
)
_MESSAGES: Final[dict[str, tuple[tuple[str, int, Any, bool], ...]]] = {
    # Data sets, templates, nested property sets and extensions are refused, so their content is never
    # parsed: a message without fields takes their bytes as they are, however deeply they are nested.
    "Opaque": (),
    "MetaData": (
        ("is_multi_part", 1, _Field.TYPE_BOOL, False),
        ("content_type", 2, _Field.TYPE_STRING, False),
        ("size", 3, _Field.TYPE_UINT64, False),
        ("seq", 4, _Field.TYPE_UINT64, False),
        ("file_name", 5, _Field.TYPE_STRING, False),
        ("file_type", 6, _Field.TYPE_STRING, False),
        ("md5", 7, _Field.TYPE_STRING, False),
        ("description", 8, _Field.TYPE_STRING, False),
    ),
    "PropertyValue": (("type", 1, _Field.TYPE_UINT32, False), ("is_null", 2, _Field.TYPE_BOOL, False)),
    "PropertySet": (("keys", 1, _Field.TYPE_STRING, True), ("values", 2, "PropertyValue", True)),
    "Metric": (
        ("name", 1, _Field.TYPE_STRING, False),
        ("alias", 2, _Field.TYPE_UINT64, False),
        ("timestamp", 3, _Field.TYPE_UINT64, False),
        ("datatype", 4, _Field.TYPE_UINT32, False),
        ("is_historical", 5, _Field.TYPE_BOOL, False),
        ("is_transient", 6, _Field.TYPE_BOOL, False),
        ("is_null", 7, _Field.TYPE_BOOL, False),
        ("metadata", 8, "MetaData", False),
        ("properties", 9, "PropertySet", False),
    ),
}
_PAYLOAD: Final = (
    ("timestamp", 1, _Field.TYPE_UINT64, False),
    ("metrics", 2, "Metric", True),
    ("seq", 3, _Field.TYPE_UINT64, False),
    ("uuid", 4, _Field.TYPE_STRING, False),
    ("body", 5, _Field.TYPE_BYTES, False),
)


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: int, kind: Any, repeated: bool) -> _Field:
    field = message.field.add(name=name, number=number)
    field.label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    if isinstance(kind, str):
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.Payload.{kind}"
    else:
        field.type = kind
    return field


def _message_classes() -> tuple[Any, ...]:
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package=_PACKAGE, syntax="proto2")
    payload = file.message_type.add(name="Payload")
    for name, number, kind, repeated in _PAYLOAD:
        _add_field(payload, name, number, kind, repeated)
    for message_name, fields in _MESSAGES.items():
        message = payload.nested_type.add(name=message_name)
        for name, number, kind, repeated in fields:
            _add_field(message, name, number, kind, repeated)
        values = {"PropertyValue": _PROPERTY_VALUES, "Metric": _METRIC_VALUES}.get(message_name, ())
        if values:
            message.oneof_decl.add(name="value")
        for name, number, kind in values:
            _add_field(message, name, number, kind, repeated=False).oneof_index = 0
    flat = file.message_type.add(name="FlatPayload")
    for name, number, kind, repeated in _PAYLOAD:
        _add_field(flat, name, number, _Field.TYPE_BYTES if kind == "Metric" else kind, repeated)
    # A pool of our own: another library in the same process may register the same file name.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("Payload", "Payload.Metric", "FlatPayload")
    return tuple(message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in names)


_classes: Final = _message_classes()
PayloadMessage: Final[Any] = _classes[0]
"""The protobuf class of a payload; everything else is reached through its fields."""
MetricMessage: Final[Any] = _classes[1]
FlatPayloadMessage: Final[Any] = _classes[2]
"""A payload whose metrics stay bytes: the same on the wire, because a message is length and bytes there too."""
