"""`data_class`: slotted data classes, made in a fraction of the time that `dataclasses.dataclass` takes.

The package has more than a hundred, and making them was half of its import: the standard decorator compiles each method of each
class by itself, and makes the class twice. Here only ``__init__`` is compiled; the other methods are closures. It also
stores fields through their slots, so that making an object takes about half the time.

To type checkers, and to `dataclasses.fields` and `dataclasses.replace`, they are data classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["data_class"]

if TYPE_CHECKING:
    from dataclasses import dataclass as data_class
else:
    import dataclasses
    from operator import attrgetter

    def data_class(*, slots, frozen=False, eq=True, weakref_slot=False):
        """A decorator as ``dataclasses.dataclass(slots=True, ...)`` is; subclasses of such classes are not supported.

        ``eq`` compares all fields of objects of one class; with ``frozen`` objects are hashable by them.

        >>> @data_class(frozen=True, slots=True)
        ... class Point:
        ...     x: float
        ...     y: float = 0.0
        >>> Point(1.0)
        Point(x=1.0, y=0.0)
        >>> Point(1.0) == Point(1.0, 0.0)
        True
        """
        if not slots:
            raise TypeError("a data_class has slots")

        def decorate(cls):
            fields = _fields_of(cls)
            namespace = {name: value for name, value in vars(cls).items()
                         if name not in fields and name not in ("__dict__", "__weakref__")}
            namespace["__slots__"] = (*fields, "__weakref__") if weakref_slot else tuple(fields)
            namespace["__dataclass_fields__"] = fields
            namespace["__match_args__"] = tuple(fields)
            made = type(cls)(cls.__name__, cls.__bases__, namespace)
            made.__qualname__ = cls.__qualname__
            made.__init__ = _initialiser(made, fields)
            for name, method in _methods(made, fields, frozen, eq).items():
                if name not in namespace:
                    setattr(made, name, method)
            return made

        return decorate

    def _fields_of(cls):
        fields = {}
        for name, annotation in cls.__annotations__.items():
            given = cls.__dict__.get(name, dataclasses.MISSING)
            found = given if isinstance(given, dataclasses.Field) else dataclasses.field(default=given)
            found.name, found.type, found._field_type = name, annotation, dataclasses._FIELD
            fields[name] = found
        return fields

    def _initialiser(cls, fields):
        """``__init__``, by way of its source: calls with keywords should cost what those of any function cost."""
        scope, parameters, lines = {"absent": dataclasses.MISSING}, ["self"], []
        for number, (name, found) in enumerate(fields.items()):
            scope[f"store{number}"] = getattr(cls, name).__set__
            value = name
            if found.default is not dataclasses.MISSING:
                scope[f"default{number}"] = found.default
                parameters.append(f"{name}=default{number}")
            elif found.default_factory is not dataclasses.MISSING:
                scope[f"default{number}"] = found.default_factory
                parameters.append(f"{name}=absent")
                value = f"default{number}() if {name} is absent else {name}"
            else:
                parameters.append(name)
            lines.append(f" store{number}(self, {value})")
        if hasattr(cls, "__post_init__"):
            lines.append(" self.__post_init__()")
        source = f"def __init__({', '.join(parameters)}):\n" + ("\n".join(lines) or " pass")
        exec(source, scope)
        made = scope["__init__"]
        made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
        return made

    def _methods(cls, fields, frozen, eq):
        names = tuple(fields)
        values = attrgetter(*names) if len(names) > 1 else lambda self: tuple([getattr(self, name) for name in names])

        def __repr__(self):
            shown = ", ".join([f"{name}={getattr(self, name)!r}" for name in names])
            return f"{type(self).__qualname__}({shown})"

        def __getstate__(self):
            return [getattr(self, name) for name in names]

        def __setstate__(self, state):
            for name, value in zip(names, state, strict=True):
                object.__setattr__(self, name, value)

        methods = {"__repr__": __repr__, "__getstate__": __getstate__, "__setstate__": __setstate__}
        if eq:
            def __eq__(self, other):
                return values(self) == values(other) if other.__class__ is cls else NotImplemented

            methods["__eq__"] = __eq__
            methods["__hash__"] = (lambda self: hash(values(self))) if frozen else None
        if frozen:
            def __setattr__(self, name, value):
                raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

            def __delattr__(self, name):
                raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

            methods["__setattr__"], methods["__delattr__"] = __setattr__, __delattr__
        return methods
