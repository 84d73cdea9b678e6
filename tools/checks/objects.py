# SPDX-License-Identifier: MIT
"""The object files of a build tree, and which of them call which.

A build tree lists what it compiles in compile_commands.json. Of each object, nm tells the symbols
that it defines for others and those that it needs.
"""
import json
import os
import shlex
import subprocess

# The targets of src/ are one program: the library.
LIBRARY = "libroulette"


class Object:
    """One object file of a program, named with its source."""

    def __init__(self, program, source, file):
        self.program = program
        self.source = source
        self.file = file
        self.defined = set()
        self.needed = set()


class NoObjects(Exception):
    """The build tree is none, or is not built."""


def program_of(output):
    """The program of an object file of a build tree; None for those of tests."""
    tree = output.split("/", 1)[0]
    if tree == "src":
        return LIBRARY
    if tree in ("tools", "bench"):
        return next(part for part in output.split("/") if part.endswith(".dir"))[:-len(".dir")]
    return None


def output_of(entry):
    """The object file of an entry of compile_commands.json; "output" is there since CMake 3.26."""
    if "output" in entry:
        return entry["output"]
    words = shlex.split(entry["command"])
    return words[words.index("-o") + 1]


def read_symbols(objects):
    """Fill in what the objects define and need."""
    by_file = {object_.file: object_ for object_ in objects}
    output = subprocess.run(["nm", "-P", "-A", "-g", *by_file], check=True, capture_output=True,
                            text=True).stdout
    for line in output.splitlines():
        file, symbol = line.split(": ", 1)
        name, kind, *value = symbol.split()
        # An undefined one has no value: a weak one is "w" or "v" then.
        if value and kind != "U":
            by_file[file].defined.add(name)
        else:
            by_file[file].needed.add(name)


def load(build, root):
    """The objects of src/, tools/ and bench/ in a build tree."""
    try:
        with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as stream:
            entries = json.load(stream)
    except FileNotFoundError:
        raise NoObjects(f"{build} is no build tree: it has no compile_commands.json") from None
    objects = []
    for entry in entries:
        file = os.path.join(entry["directory"], output_of(entry))
        program = program_of(os.path.relpath(file, build))
        if program is None:
            continue
        if not os.path.exists(file):
            raise NoObjects(f"{build} is not built: it has no {os.path.relpath(file, build)}")
        objects.append(Object(program, os.path.relpath(entry["file"], root), file))
    if not objects:
        raise NoObjects(f"{build} compiles nothing of src/")
    read_symbols(objects)
    return objects


def calls(objects):
    """Edges between the objects of one program: {object: {object: sorted names}}."""
    definer = {name: object_ for object_ in objects for name in object_.defined}
    edges = {object_: {} for object_ in objects}
    for object_ in objects:
        for name in sorted(object_.needed):
            target = definer.get(name)
            if target is not None and target is not object_:
                edges[object_].setdefault(target, []).append(name)
    return edges


def circles(edges):
    """The strongly connected components of two or more nodes (Tarjan 1972)."""
    order, low, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for target in edges[node]:
            if target not in order:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], order[target])
        if low[node] == order[node]:
            component = stack[stack.index(node):]
            del stack[stack.index(node):]
            if len(component) > 1:
                found.append(component)

    for node in edges:
        if node not in order:
            visit(node)
    return found
