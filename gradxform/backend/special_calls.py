"""Special functions as compiled code and the evaluator call them: addresses, and loops over arrays.

``gx.special.NAME`` is a function of float64 numbers and an int that does not matter. It is SciPy's own, from the table of
``scipy.special.cython_special``, or a program of ours, compiled when it is first needed. SciPy is imported only then.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from gradxform.backend.compile import Tier
from gradxform.backend.library import Library
from gradxform.errors import CompileError
from gradxform.ir.special_names import OWN_FUNCTIONS
from gradxform.loopir.scalar import PROGRAMS


@cache
def _capsule_table() -> dict[str, dict[str, Any]]:
    """SciPy's functions by name, each with its capsules by C signature."""
    from scipy.special import cython_special

    table: dict[str, dict[str, Any]] = {}
    for name, capsule in cython_special.__pyx_capi__.items():
        plain = re.sub(r"^__pyx_fuse_\d(_\d)?", "", name)
        table.setdefault(plain, {})[_capsule_name(capsule).decode()] = capsule
    return table


def _capsule_name(capsule: Any) -> bytes:
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    found = name(capsule)
    assert isinstance(found, bytes)
    return found


def _scipy_address(name: str) -> int:
    """The address of SciPy's function of float64 numbers; all its variants of that kind are equal."""
    for signature, capsule in _capsule_table().get(name, {}).items():
        result, arguments = signature.split(" (", 1)
        kinds = [part.strip() for part in arguments.rstrip(")").split(",")]
        numbers = [kind for kind in kinds if kind not in ("int __pyx_skip_dispatch", "int")]
        if (result == "double" and all(kind == "double" for kind in numbers)) or (
                result == "void" and numbers[0] == "double" and set(numbers[1:]) <= {"double *"}):
            pointer = ctypes.pythonapi.PyCapsule_GetPointer
            pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
            return int(pointer(capsule, signature.encode()))
    import scipy

    raise CompileError(f"scipy.special.{name}: SciPy {scipy.__version__} does not publish this function to compiled code; "
                       "upgrade SciPy, or call the function outside of jit")


# A program's exported function, and the loop over arrays that the evaluator calls.
_EXPORTS = """define double @gx.special.NAME(PARAMETERS, i32 %dispatch) nounwind {
  %result = call double @gx.program.NAME(ARGUMENTS)
  ret double %result
}
define void @gx.loop.NAME(POINTERS, ptr %results, i64 %count) nounwind {
entry:
  br label %again
again:
  %i = phi i64 [ 0, %entry ], [ %next, %inside ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %inside, label %done
inside:
LOADS
  %result = call double @gx.program.NAME(ARGUMENTS)
  %place = getelementptr double, ptr %results, i64 %i
  store double %result, ptr %place
  %next = add i64 %i, 1
  br label %again
done:
  ret void
}"""


def _text(name: str) -> str:
    from gradxform.backend.scalar_programs import Programs  # reads Python's source, and is not needed before

    programs = Programs()
    programs.add(PROGRAMS[name])
    numbers = range(OWN_FUNCTIONS[name])
    loads = "\n".join(f"  %p{i} = getelementptr double, ptr %a{i}, i64 %i\n  %x{i} = load double, ptr %p{i}" for i in numbers)
    exports = (_EXPORTS.replace("NAME", name)
               .replace("PARAMETERS", ", ".join(f"double %x{i}" for i in numbers))
               .replace("POINTERS", ", ".join(f"ptr %a{i}" for i in numbers))
               .replace("ARGUMENTS", ", ".join(f"double %x{i}" for i in numbers)).replace("LOADS", loads))
    # The function itself has its public name there; calls of a program by a program stay inside of the module.
    exports = exports.replace(f"@gx.program.{name}(", f"@gx.program.{PROGRAMS[name].__name__}(")
    return f"{programs.text()}\n{exports}\n"


_library = Library("special", Tier.SHORT_LOOPS, _text, ("loop",))


def address(name: str) -> int:
    """The address of ``gx.special.NAME``. It stays valid as long as the process lives.

    Raises:
        CompileError: the installed SciPy does not publish the function.
    """
    return _library.address(name) if name in OWN_FUNCTIONS else _scipy_address(name)


@cache
def _loop(name: str) -> Callable[..., None]:
    types = [ctypes.c_void_p] * (OWN_FUNCTIONS[name] + 1) + [ctypes.c_int64]
    return ctypes.CFUNCTYPE(None, *types)(_library.address(name, "loop"))


def evaluate(name: str, *arguments: Any) -> Any:
    """A special function of arrays or numbers of one dtype, float64 or float32, which is that of the result."""
    dtype = np.result_type(*arguments)
    wide = [np.asarray(argument, np.float64) for argument in arguments]
    if name not in OWN_FUNCTIONS:
        import scipy.special

        with np.errstate(all="ignore"):
            return np.asarray(getattr(scipy.special, name)(*wide)).astype(dtype)[()]
    shape = np.broadcast_shapes(*[array.shape for array in wide])
    operands = [np.ascontiguousarray(np.broadcast_to(array, shape)) for array in wide]
    result = np.empty(shape)
    _loop(name)(*[array.ctypes.data for array in operands], result.ctypes.data, result.size)
    with np.errstate(all="ignore"):
        return result.astype(dtype)[()]
