"""Types of the columns that listings and Parquet files with images must have."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pyarrow as pa

from lib.errors import ListingError

Kind = tuple[str, Callable[[pa.DataType], bool]]  # its name, and whether a type is of this kind


def _is_text(found: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        return _is_text(found.value_type)
    return (
        pa.types.is_string(found)
        or pa.types.is_large_string(found)
        or pa.types.is_string_view(found)
        or pa.types.is_null(found)
    )


def _is_number(found: pa.DataType) -> bool:
    return (
        pa.types.is_integer(found)
        or pa.types.is_floating(found)
        or pa.types.is_decimal(found)
        or pa.types.is_null(found)
    )


def _is_bytes(found: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        return _is_bytes(found.value_type)
    return (
        pa.types.is_binary(found)
        or pa.types.is_large_binary(found)
        or pa.types.is_binary_view(found)
        or pa.types.is_fixed_size_binary(found)
    )


def _is_image_struct(found: pa.DataType) -> bool:
    at = found.get_field_index("bytes") if pa.types.is_struct(found) else -1
    return at >= 0 and _is_bytes(found.field(at).type)


STRING: Kind = ("text", _is_text)
NUMBER: Kind = ("numbers", _is_number)
BINARY: Kind = ("bytes (binary)", _is_bytes)
STRUCT: Kind = ("a struct with the field bytes (binary)", _is_image_struct)


def check_columns(where: str, schema: pa.Schema, allowed: Mapping[str, tuple[Kind, ...]]) -> None:
    """Raise ListingError if a column of the schema is of none of its allowed kinds. Missing columns pass."""
    for name, kinds in allowed.items():
        places = schema.get_all_field_indices(name)
        if len(places) > 1:
            raise ListingError(f"{where}: two columns are called {name!r}; rename one of them")
        for at in places:
            found = schema.field(at).type
            if not any(is_kind(found) for _, is_kind in kinds):
                expected = " or ".join(kind for kind, _ in kinds)
                raise ListingError(f"{where}: column {name!r} is {found}, expected {expected}")
