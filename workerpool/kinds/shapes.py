"""A kind's schema, made once and whole: what no payload could be loaded with is found before the first one comes."""

from collections.abc import Iterator

from marshmallow import Schema, fields


def made(schema: type[Schema]) -> Schema:
    """An instance, and every schema nested in it has been made too. Raises whatever the author's code raises."""
    whole = schema()
    _make_nested(whole, {schema})
    return whole


def _make_nested(schema: Schema, known: set[type[Schema]]) -> None:
    for field in schema.load_fields.values():
        for nested in _nested(field):
            # A tree's node may hold nodes without end.
            if type(nested) not in known:
                known.add(type(nested))
                _make_nested(nested, known)


def _nested(field: fields.Field[object] | None) -> Iterator[Schema]:
    """The schemas that `field` loads with. marshmallow makes each when it is first asked for."""
    if isinstance(field, fields.Nested):
        yield field.schema
    elif isinstance(field, fields.List):
        yield from _nested(field.inner)
    elif isinstance(field, fields.Mapping):
        yield from _nested(field.key_field)
        yield from _nested(field.value_field)
    elif isinstance(field, fields.Tuple):
        for each in field.tuple_fields:
            yield from _nested(each)
