"""Which names a source text takes from its module."""

from __future__ import annotations

import symtable


def global_names(text: str) -> set[str]:
    """The names that a text reads from its module; arguments and local names are none, whatever they are called.

    >>> sorted(global_names("def f(pad): return pad(crop(1))"))
    ['crop']
    """
    found: set[str] = set()

    def visit(table: symtable.SymbolTable) -> None:
        whole = table.get_type() == "module"
        found.update(
            s.get_name() for s in table.get_symbols() if s.is_referenced() and (whole or s.is_global())
        )
        for inner in table.get_children():
            visit(inner)

    visit(symtable.symtable(text, "port.py", "exec"))
    return found
