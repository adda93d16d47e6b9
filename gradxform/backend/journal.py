"""What was decided about each value on the way to loops: how it is computed, where it lies, and why.

    Note(var, "product", "t1", "64x32x64: 131,072 multiply-adds, at least 4,096")
    Note(var, "stored", "t1", "a product writes to memory; 32.8 kB")

The modules that decide tell a journal so, with the figures that decided; where things lie in the end it sees in the complete
kernel. `SILENT` takes no notes: words are put together by a journal that does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from gradxform.backend.liveness import touched
from gradxform.data_class import data_class
from gradxform.ir import Atom, Var
from gradxform.loopir.expression import Expression, Symbol, known
from gradxform.loopir.loops import Buffer, Contract, Kernel, Statement, bodies
from gradxform.quantities import scaled

if TYPE_CHECKING:
    from gradxform.backend.nodes import Node
    from gradxform.backend.recompute import Price

#: How a value is computed, where that is not element by element: a product of matrices by packed panels, by tiles in registers
#: or by loops; a native routine; a call into Python; a loop or a branch of the program; in memory that another value has left.
How = Literal["product", "tile", "loops", "routine", "python", "loop", "branch", "in place"]
#: Where it lies: in memory of the caller, in memory of the kernel, in a register between statements, nowhere (what reads it
#: computes it), or where that lies of which it is a view.
Where = Literal["input", "output", "stored", "register", "computed anew", "view"]
Decision = How | Where
_HOW = frozenset(get_args(How))
#: What is not computed element by element in loops: worth a word also where it is on the way to an equation's result.
SPECIAL: tuple[How, ...] = ("product", "tile", "routine", "python")

NOTHING_READ = "reads nothing: a number, or made of its index"
#: What is never computed again.
_ONCE = {"reduction": "a reduction", "cumulative": "a running reduction", "scatter": "an update"}


@data_class(frozen=True, slots=True)
class Note:
    """One decision about ``var``. ``place`` is a buffer's name in the printed loops, "" if there is none.

    A variable has a note for each `How` and each `Where` that holds for it; several `Where` if it is copied, or if its program
    is that of several equations. ``reason`` is short, with the figures that decided.
    """

    var: Var
    decision: Decision
    place: str
    reason: str

    def __str__(self) -> str:
        head = f"{self.decision} {self.place}".rstrip()
        return f"{head}: {self.reason}" if self.reason else head


#: What a note says a value lies in, until the kernel is complete: a buffer, a scalar, or that of which it is a view.
Home = Buffer | Symbol | Atom | None


@data_class(slots=True, eq=False)
class _Entry:
    var: Var
    decision: Decision
    home: Home
    reason: str


class Journal:
    """The notes of one kernel: complete when `kernel_of` has returned."""

    def __init__(self) -> None:
        self.notes: list[Note] = []
        self._entries: list[_Entry] = []
        self._remarks: dict[Var, dict[str, str]] = {}
        self._originals: dict[Var, Var] = {}
        self._owners: dict[Var, Var] = {}
        self._copies: dict[Var, int] = {}
        self._operands: dict[Var, Atom] = {}
        self._within: dict[Var, int] = {}
        self._moved: dict[Buffer | Symbol, list[Buffer]] = {}
        self._sums: dict[Buffer, Var] = {}
        self._results: set[Var] = set()

    def __repr__(self) -> str:
        return f"<journal: {len(self.notes)} notes>"

    def original(self, var: Var) -> Var:
        """The variable of the program for which ``var``, one of `Nest.values` say, stands; itself if it is no copy."""
        while var in self._originals:
            var = self._originals[var]
        return var

    def owner(self, var: Var) -> Var:
        """The variable of the program for the sake of which ``var`` is computed; what it stands for if it stands for one."""
        var = self.original(var)
        while var in self._owners:
            var = self.original(self._owners[var])
        return var

    def of(self, var: Var) -> list[Note]:
        """The notes about one variable."""
        return [note for note in self.notes if note.var is var]

    # --------------------------------------------------------------------------------------------------- decisions

    def how(self, variables: Sequence[Var], decision: How, text: str, *figures: object) -> None:
        """Values are computed as ``decision`` says. ``text`` has a place in braces for each figure."""
        reason = text.format(*figures)
        self._entries += [_Entry(var, decision, None, reason) for var in variables]

    def where(self, var: Var, decision: Where, home: Home, text: str, *figures: object) -> None:
        """A value lies in ``home``."""
        if decision == "view" and not isinstance(home, Var):
            decision, home, text = "computed anew", None, NOTHING_READ
        self._entries.append(_Entry(var, decision, home, text.format(*figures)))

    def remark(self, var: Var, topic: str, text: str, *figures: object) -> None:
        """A reason for what will be decided about ``var``, on memory, readers or price; of each topic the last one counts."""
        self._remarks.setdefault(var, {})[topic] = text.format(*figures)

    def stands_for(self, copy: Var, atom: Atom | None) -> None:
        """What is decided about ``copy`` is decided about a variable of the program."""
        while isinstance(atom, Var) and atom in self._operands:
            atom = self._operands[atom]
        if isinstance(atom, Var) and copy is not atom:
            self._originals[copy] = atom

    def operand(self, inner: Var, atom: Atom) -> None:
        """What an equation expands to knows one of its operands as ``inner``."""
        self._operands[inner] = atom
        self.where(inner, "view", atom, "an operand of what it expands to")

    def part_of(self, variables: Iterable[Var], owner: Var) -> None:
        """An equation that gives ``owner`` computes these on the way; the program does not know them."""
        self._owners.update({var: owner for var in variables if var is not owner})

    def repeats(self, var: Var, copy: Var | None) -> None:
        """A loop computes ``var`` for itself, as ``copy``, or else within an expression that reads it."""
        if copy is None:
            self._within[var] = self._within.get(var, 0) + 1
        else:
            self._copies[var] = self._copies.get(var, 0) + 1
            self._originals[copy] = var

    def repeated(self, var: Var, price: Price) -> None:
        """No loop but those that read ``var`` computes it."""
        copies, within = self._copies.get(var, 0), self._within.get(var, 0)
        if copies + within == 0:
            self.where(var, "computed anew", None, "nothing reads it")
        elif copies + within > 1:
            self.where(var, "computed anew", None, "in {} loops that read it; {}; {:.2g} ns an element, at most {:.2g} allowed",
                       copies + within, scaled(price.nbytes, "B"), price.arithmetic, price.budget)
        elif within:
            self.where(var, "register", None, "computed within what reads it")
        # A single copy is noted where it is computed.

    def results(self, variables: Iterable[Var]) -> None:
        """These are results of the program, or parts of such."""
        self._results.update(variables)

    def computed(
        self, node: Node, var: Var, fixed: str, stored: Buffer | None, total: Buffer | None, scalar: Symbol | None
    ) -> None:
        """The loops compute ``var`` into ``stored``; if that is None into a ``total`` of their own, or a ``scalar``.

        ``fixed`` says why it must lie in memory, if it must.
        """
        remarks = self._remarks.get(var, {})
        memory = remarks.get("memory", "")
        if any(result is var for result, _ in node.bases):
            self.how([var], "in place", "{}", memory)
            memory = ""
        if var in self._results:
            self.where(var, "output", stored, "{}", memory or "a result")
        elif stored is None or (stored.space == "local" and not stored.shape):
            home = total if total is not None else stored if stored is not None else scalar
            self.where(var, "register", home, "{}", memory or (
                "read by the loop that computes it" if total is None else "a total, read after its loop"))
        else:
            own = f"{_ONCE[node.kind]} is computed once" if node.kind in _ONCE else ""
            size = "" if stored.space == "tape" else scaled(stored.nbytes, "B")
            reasons = [memory or fixed or own, remarks.get("readers"), size, remarks.get("price")]
            self.where(var, "stored", stored, "{}", "; ".join([part for part in reasons if part]))

    def sums(self, var: Var, buffer: Buffer) -> None:
        """A reduction adds up ``var`` in ``buffer``."""
        self._sums[buffer] = var

    def moved(self, old: Buffer | Symbol, new: Buffer) -> None:
        """What is known as ``old`` lies in ``new``, in some of the loops at least."""
        self._moved.setdefault(old, []).append(new)

    def alike(self, own: Mapping[Any, Any]) -> None:
        """What has become of the keys, buffers and symbols, has become of the values, in a nest of their own."""
        for old, new in own.items():
            homes = self._moved.get(old)
            if homes is not None and new is not old:
                self._moved.setdefault(new, []).extend([own.get(home, home) for home in homes])

    # ------------------------------------------------------------------------------------------------ the complete kernel

    def finish(self, kernel: Kernel) -> None:
        """Write the notes, with the places where things lie in ``kernel``."""
        used: dict[Buffer, None] = {}
        tiles: dict[Buffer, Contract] = {}
        for nest in kernel.nests:
            used |= touched(nest.body)
            tiles |= {tile.result.buffer: tile for tile in _tiles(nest.body)}
        used |= dict.fromkeys((*kernel.inputs, *kernel.outputs))
        for entry in self._entries:
            entry.var = self.original(entry.var)
        self._note_tiles(tiles)
        lying = {entry.var: entry.home for entry in self._entries if entry.home is not None and entry.decision != "tile"}
        anew = {entry.var for entry in self._entries if entry.decision == "computed anew"}
        found: dict[Note, None] = {}
        for entry in self._entries:
            if entry.decision == "register" and entry.var in anew:
                continue
            home = lying.get(entry.var) if entry.home is None and entry.decision in _HOW else entry.home
            buffer = self._place(home, lying, used)
            decision, reason = entry.decision, entry.reason
            if decision == "register" and buffer is not None and buffer.shape:
                decision = "stored"
                reason = f"crosses from one loop over a block of iterations to another; {scaled(buffer.nbytes, 'B')}"
            var = entry.var
            if var in self._owners and (decision == "stored" or decision in SPECIAL):
                var, reason = self.owner(var), reason if decision in SPECIAL else f"on the way to it: {reason}"
            found[Note(var, decision, "" if buffer is None else buffer.name, reason)] = None
        self.notes[:] = found

    def _note_tiles(self, tiles: Mapping[Buffer, Contract]) -> None:
        """What has been left to loops, or is a sum like any other, has perhaps become tiles."""
        for buffer, var in self._sums.items():
            tile = next((tiles[home] for home in self._homes(buffer) if home in tiles), None)
            if tile is not None:
                own = self.original(var)
                extents = " x ".join(map(_extent_text, (tile.rows, tile.inner, tile.columns)))
                reason = f"sums in registers, {extents} at a time"
                earlier = [entry for entry in self._entries if entry.var is own and entry.decision == "loops"]
                for entry in earlier:
                    entry.decision, entry.home, entry.reason = "tile", tile.result.buffer, f"{entry.reason}; {reason}"
                if not earlier:
                    self._entries.append(_Entry(own, "tile", tile.result.buffer, reason))

    def _place(self, home: Home, lying: Mapping[Var, Home], used: Mapping[Buffer, None]) -> Buffer | None:
        while isinstance(home, Var):
            home = lying.get(self.original(home))
        if not isinstance(home, (Buffer, Symbol)):
            return None
        return next((buffer for buffer in self._homes(home) if buffer in used), None)

    def _homes(self, home: Buffer | Symbol) -> Iterator[Buffer]:
        if isinstance(home, Buffer):
            yield home
        for new in self._moved.get(home, ()):
            yield from self._homes(new)


class _Silent(Journal):
    """A journal that takes no notes."""

    def _nothing(self, *given: Any, **named: Any) -> None:
        pass

    how = where = remark = stands_for = operand = part_of = repeats = repeated = _nothing
    results = computed = sums = moved = alike = finish = _nothing


SILENT: Journal = _Silent()


def _tiles(statements: Sequence[Statement]) -> Iterator[Contract]:
    for statement in statements:
        if isinstance(statement, Contract):
            yield statement
        for body in bodies(statement):
            yield from _tiles(body)


def _extent_text(extent: Expression) -> str:
    number = known(extent)
    return "block" if number is None else str(number)
