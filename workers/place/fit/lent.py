"""Arrays of which kernels need not count who refers to them."""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic

__all__ = ["lent"]


def _lent(typing_context: Any, arrays: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return _without_owner(context, builder, signature.args[0], given[0])

    return arrays(arrays), generate


lent: Any = intrinsic(_lent)
"""Returns arrays, or tuples of them, without who owns their memory; for the head of a kernel.

Whoever calls a kernel keeps its arrays alive. numba counts references to them all the same, by
atomic operations wherever one is sliced or taken out of a tuple: in fits, where loops are short,
that took a quarter of the time.
"""


def _without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    is_tuple = isinstance(kind, types.BaseTuple)
    if is_tuple:
        parts = [
            _without_owner(context, builder, each, builder.extract_value(value, i))
            for i, each in enumerate(kind)
        ]
        return context.make_tuple(builder, kind, parts)
    at = context.data_model_manager[kind].get_field_position("meminfo")
    return builder.insert_value(value, value.type.elements[at](None), at)
