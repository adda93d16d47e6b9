"""Python objects that are called straight into emitted code.

CPython calls an object whose type has the vectorcall flag through a pointer kept in the object itself.
`NativeCallable` keeps there the first entry point of a chain of specialisations; each entry's cell holds the next, and
the last one falls to `call_slow`. While the chain is empty the pointer is null and CPython calls ``__call__``, which
is plain Python.

Two things need care. A Python class inherits neither the vectorcall flag (before 3.12) nor the flag that lets
``object.method(x)`` go without a bound method, so both are set on the class; where the probe below finds that this
does not work, ``__call__`` calls the entry through ctypes instead, slower and with the same results. And code must not
be freed while a call is inside it, which can happen when Python code runs in the middle (another thread, a comparison,
a finaliser): unlinked specialisations whose call count is not zero wait in a list until it is.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
import threading
import weakref
from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any

from gradxform.backend.compile import Loaded
from gradxform.backend.python_abi import read_integer
from gradxform.data_class import data_class
from gradxform.errors import ArgumentError, ArgumentTypeError

_VECTORCALL_OFFSET = 16
_TYPE_FLAGS_OFFSET = 168
_ACTIVE_OFFSET = 8

_FLAG_BASETYPE = 1 << 10
_FLAG_HAVE_VECTORCALL = 1 << 11
_FLAG_METHOD_DESCRIPTOR = 1 << 17
_FLAG_DEFAULT = 1 << 18

_SLOT_CALL = 50
_SLOT_DESCRIPTOR_GET = 54
_SLOT_MEMBERS = 72
_MEMBER_PY_SSIZE_T = 19
_MEMBER_READONLY = 1

_VectorcallFunction = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.py_object, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
)


class _MemberDefinition(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _TypeSlot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("function", ctypes.c_void_p))


class _TypeSpecification(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("basic_size", ctypes.c_int),
        ("item_size", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_TypeSlot)),
    )


def _make_base() -> tuple[type, object]:
    """A heap type whose instances hold one vectorcall pointer, and the C data that it may go on referring to."""
    from_spec = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(("PyType_FromSpec", ctypes.pythonapi))
    get_slot = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_int)(("PyType_GetSlot", ctypes.pythonapi))
    members = (_MemberDefinition * 2)(
        _MemberDefinition(b"__vectorcalloffset__", _MEMBER_PY_SSIZE_T, _VECTORCALL_OFFSET, _MEMBER_READONLY, None)
    )
    # The function type binds any callable: it makes a bound method of whatever object it is given.
    bind = get_slot(type(_make_base), _SLOT_DESCRIPTOR_GET)
    slots = (_TypeSlot * 4)(
        _TypeSlot(_SLOT_CALL, ctypes.cast(ctypes.pythonapi.PyVectorcall_Call, ctypes.c_void_p).value),
        _TypeSlot(_SLOT_DESCRIPTOR_GET, bind),
        _TypeSlot(_SLOT_MEMBERS, ctypes.addressof(members)),
        _TypeSlot(0, None),
    )
    specification = _TypeSpecification(
        b"gradxform.backend.callable.VectorcallBase",
        _VECTORCALL_OFFSET + 8,
        0,
        _FLAG_DEFAULT | _FLAG_BASETYPE | _FLAG_HAVE_VECTORCALL | _FLAG_METHOD_DESCRIPTOR,
        slots,
    )
    base = from_spec(ctypes.addressof(specification))
    return base, (members, slots, specification)


def _set_flags(cls: type, flags: int) -> None:
    field = ctypes.c_ulong.from_address(id(cls) + _TYPE_FLAGS_OFFSET)
    if field.value != cls.__flags__:
        raise ArgumentTypeError(f"the flags of {cls.__name__} are not where CPython is known to keep them")
    field.value |= flags
    ctypes.PYFUNCTYPE(None, ctypes.py_object)(("PyType_Modified", ctypes.pythonapi))(cls)


def _probe(base: type) -> bool:
    """Does a Python subclass of the base dispatch by its pointer, and by ``__call__`` while it is null?"""

    class Probe(base):  # type: ignore[misc]
        def __call__(self, *arguments: object) -> object:
            return ("slow", *arguments)

    class Holder:
        method = Probe()

    def answer(_: object, arguments: int, count: int, names: int | None) -> object:
        return ("fast", *(ctypes.py_object * (count & ~(1 << 63))).from_address(arguments))

    thunk = _VectorcallFunction(answer)
    _set_flags(Probe, _FLAG_HAVE_VECTORCALL | _FLAG_METHOD_DESCRIPTOR)
    probe, holder = Probe(), Holder()
    bound = probe.__get__(holder, Holder)
    slow = (probe(1), holder.method(1), bound(1), type(bound))
    for instance in (probe, Holder.method):
        pointer = ctypes.c_void_p.from_address(id(instance) + _VECTORCALL_OFFSET)
        pointer.value = ctypes.cast(thunk, ctypes.c_void_p).value
    fast = (probe(1), probe(*[1]), holder.method(1), bound(1))
    return slow == (("slow", 1), ("slow", holder, 1), ("slow", holder, 1), MethodType) and fast == (
        ("fast", 1),
        ("fast", 1),
        ("fast", holder, 1),
        ("fast", holder, 1),
    )


class _PlainBase:
    """What stands in for the vectorcall type on a runtime where that does not work."""

    __slots__ = ()

    def __get__(self, instance: object, owner: type | None = None) -> object:
        return self if instance is None else MethodType(self, instance)  # type: ignore[arg-type]


def _choose_base() -> tuple[type, object]:
    try:
        base, data = _make_base()
        if _probe(base):
            return base, data
    except (AttributeError, OSError, TypeError, ValueError):
        pass
    return _PlainBase, None


if TYPE_CHECKING:
    _Base = _PlainBase
else:
    _Base, _type_data = _choose_base()

NATIVE_DISPATCH: bool = _Base is not _PlainBase
"""Whether calls go straight from CPython into emitted code."""


def _make_writer() -> Callable[[int, int], None]:
    """Stores a pointer; a closure, because it is still wanted when module globals are gone at interpreter exit."""
    pointer = ctypes.c_void_p

    def write(address: int, value: int) -> None:
        pointer.from_address(address).value = value

    return write


_write_pointer = _make_writer()


_lock = threading.RLock()
_anchored_code: dict[int, tuple[Loaded, ...]] = {}
_anchor_numbers = itertools.count()


def _anchor(keep_alive: object) -> int:
    """Holds the machine code among the owners, and nothing that refers to users' objects, from outside of all garbage.

    Were a callable and its code found to be garbage together, the code would be freed first, and the finalisers of the
    rest of that garbage may still call it.
    """
    parts = keep_alive if isinstance(keep_alive, tuple) else (keep_alive,)
    number = next(_anchor_numbers)
    _anchored_code[number] = tuple(part for part in parts if isinstance(part, Loaded))
    return number


@data_class(frozen=True, slots=True, eq=False)
class _Link:
    """One entry point in a chain, or, not chained, by itself; `keep_alive` owns its code."""

    address: int
    cell_address: int
    keep_alive: object
    anchor: int
    chained: bool = True

    def busy(self) -> bool:
        return read_integer(self.cell_address + _ACTIVE_OFFSET) != 0


_linked_cells: set[int] = set()
_retired: list[_Link] = []


def _sweep() -> None:
    """Lets go of unlinked code that no call is inside of."""
    for link in list(_retired):
        # Letting go may run finalisers that sweep, too.
        if link in _retired and not link.busy():
            _retired.remove(link)
            del _anchored_code[link.anchor]


def call_entry(address: int, callable_: object, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """Calls the entry point at an address as CPython would, through ctypes: some microseconds slower."""
    values: tuple[Any, ...] = (*args, *kwargs.values())
    arguments = (ctypes.py_object * len(values))(*values)
    names = tuple(kwargs) or None
    return _VectorcallFunction(address)(
        callable_, ctypes.addressof(arguments), len(args), None if names is None else id(names)
    )


_chained: weakref.WeakSet[NativeCallable] = weakref.WeakSet()
_suspensions = 0


def suspend_dispatch() -> None:
    """From now on calls of chained callables go to their `call_slow`, in all threads, until `resume_dispatch`.

    Suspensions nest. An entry point by itself (`NativeEntry`) is called as ever.
    """
    global _suspensions
    with _lock:
        _suspensions += 1
        for callable_ in list(_chained):
            callable_._point(0)


def resume_dispatch() -> None:
    """Undo one `suspend_dispatch`; the last one gives the chains back."""
    global _suspensions
    with _lock:
        _suspensions -= 1
        if _suspensions == 0:
            for callable_ in list(_chained):
                callable_._point(callable_._links[-1].address if callable_._links else 0)


class NativeCallable(_Base):
    """A callable with a chain of compiled specialisations, tried from the youngest to the oldest, and a slow path.

    Subclasses override `call_slow`, which gets every call that no specialisation accepts. They may add attributes and
    methods as they like, but where they override ``__call__`` or ``__get__``, calls or attribute access go there and
    lose the fast path. Instances bind as methods, take weak references and attributes, and are collected as other
    objects are.
    """

    __slots__ = ("__dict__", "__weakref__", "_closed", "_links")

    _links: list[_Link]
    _closed: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        self._links = []
        self._closed = False
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _enable(cls)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        with _lock:
            link = self._links[-1] if self._links else None
        if link is None or (_suspensions and link.chained):
            return self.call_slow(*args, **kwargs)
        return call_entry(link.address, self, args, kwargs)

    def call_slow(self, /, *args: Any, **kwargs: Any) -> Any:
        """What to do with arguments that no specialisation accepts."""
        raise ArgumentTypeError(
            f"{type(self).__name__}: no compiled specialisation takes {len(args)} positional arguments "
            f"({', '.join(type(value).__name__ for value in args)}) and the keywords {sorted(kwargs)}"
        )

    def link(self, address: int, cell_address: int, keep_alive: object) -> None:
        """Puts a specialisation at the head of the chain.

        Args:
            address: of its entry point, ``@entry``.
            cell_address: of its cell, ``@entry.next``. An entry point is in one chain at a time.
            keep_alive: owns the code, its data and the objects it refers to, and is kept while the code may run: a
                `compile.Loaded`, or a tuple with one in it.

        Raises:
            ArgumentError: the entry point is already in a chain.
        """
        with _lock:
            if self._closed:
                return
            if cell_address in _linked_cells:
                raise ArgumentError("this entry point is already linked; unlink it first")
            _linked_cells.add(cell_address)
            _write_pointer(cell_address, self._links[-1].address if self._links else 0)
            self._links.append(_Link(address, cell_address, keep_alive, _anchor(keep_alive)))
            _chained.add(self)
            self._point(0 if _suspensions else address)
            _sweep()

    def unlink_all(self) -> None:
        """Empties the chain; calls that are inside it end as they would have."""
        with _lock:
            self._point(0)
            links = self._links
            self._links = []
            for link in links:
                if link.chained:
                    # A call now inside this entry must not go on to the next one, which may be gone by then.
                    _write_pointer(link.cell_address, 0)
                    _linked_cells.discard(link.cell_address)
            _retired.extend(links)
            del links
            _sweep()

    @property
    def specialization_count(self) -> int:
        return len(self._links)

    def _point(self, address: int) -> None:
        if NATIVE_DISPATCH:
            _write_pointer(id(self) + _VECTORCALL_OFFSET, address)

    def __del__(
        self,
        write: Callable[[int, int], None] = _write_pointer,
        is_finalizing: Callable[[], bool] = sys.is_finalizing,
    ) -> None:
        # Now, before the attributes go, which own the code that the pointer leads to; without module globals at exit.
        if NATIVE_DISPATCH:
            write(id(self) + 16, 0)
        if not is_finalizing():
            self._closed = True
            self.unlink_all()


def _enable(cls: type) -> None:
    """Sets the flags that a Python class does not inherit, as far as it has not overridden what they stand for."""
    if not NATIVE_DISPATCH:
        return
    flags = 0
    if cls.__call__ is NativeCallable.__call__:
        flags |= _FLAG_HAVE_VECTORCALL
    if cls.__get__ is _Base.__get__:  # type: ignore[attr-defined]
        flags |= _FLAG_METHOD_DESCRIPTOR
    _set_flags(cls, flags)


_enable(NativeCallable)


class NativeEntry(NativeCallable):
    """One entry point by itself: calls exactly this specialisation.

    Raises:
        ArgumentTypeError: when called with arguments that do not fit it.
    """

    __slots__ = ()

    def __init__(self, address: int, cell_address: int, keep_alive: object) -> None:
        self._links = [_Link(address, cell_address, keep_alive, _anchor(keep_alive), chained=False)]
        self._point(address)
