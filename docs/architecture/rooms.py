"""Count the rooms of the project and the imports between them: `python docs/architecture/rooms.py`.

A room is a file or folder directly in `runtime/`, or one of the packages `devices`, `export` and `train`. An arrow from
one room to another means that the first room imports the second; imports inside functions and for type checking also
count. The floor of a room is one above the highest floor among the rooms that it imports. If rooms import each other in
a circle, the arrow that closes the circle points up. A circle of modules is a set of modules that import one another.
"""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGES = ("devices", "runtime", "export", "train")

Graph = dict[str, set[str]]


def modules(root: Path) -> dict[str, Path]:
    """Return the file of each module by its name below `orilla`."""
    files = {}
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            name = ".".join(file.relative_to(root).with_suffix("").parts)
            files[name.removesuffix(".__init__")] = file
    return files


def imports(file: Path, known: dict[str, Path]) -> set[str]:
    """Return the project's modules that a file imports, at the top of the file or inside functions."""
    targets: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # The name in `from package import name` may be a module.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            inner = {name for name in names if name.removeprefix("orilla.") in known}
            targets |= inner if inner == names else inner | {node.module}
    return {target.removeprefix("orilla.") for target in targets if target.startswith("orilla.")} & known.keys()


def room_of(module: str) -> str:
    """Return the room of a module."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "runtime" else parts[0]


def rooms(graph: Graph) -> Graph:
    """Return the arrows between rooms. The file `__init__.py` with the public names is not a room."""
    arrows: Graph = {}
    for module, targets in graph.items():
        if module == "runtime":
            continue
        arrows.setdefault(room_of(module), set()).update(room_of(target) for target in targets)
    return {room: {target for target in targets if target not in (room, "runtime")} for room, targets in arrows.items()}


def circles(graph: Graph) -> list[set[str]]:
    """Return the sets of nodes that can all reach each other (strongly connected components)."""
    reach: Graph = {}
    for start in graph:
        seen: set[str] = set()
        stack = list(graph[start])
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack += graph.get(node, ())
        reach[start] = seen
    result: list[set[str]] = []
    for node in graph:
        circle = {reached for reached in reach[node] if node in reach.get(reached, ())}
        if circle and circle not in result:
            result.append(circle)
    return result


def upward(arrows: Graph) -> tuple[list[tuple[str, str]], Graph]:
    """Return the arrows whose removal leaves no circle of rooms, and the graph without these arrows."""
    left = {room: set(targets) for room, targets in arrows.items()}
    removed = []
    while True:
        try:
            list(TopologicalSorter({room: sorted(left[room]) for room in sorted(left)}).static_order())
        except CycleError as error:
            target, room = error.args[1][:2]  # The second room imports the first.
            left[room].discard(target)
            removed.append((room, target))
        else:
            return removed, left


def floors(arrows: Graph) -> dict[str, int]:
    """Return the floor of each room in a graph without cycles. The lowest floor is 1."""
    level: dict[str, int] = {}
    for room in TopologicalSorter(arrows).static_order():
        level[room] = 1 + max((level[target] for target in arrows.get(room, ())), default=0)
    return level


def main(root: Path) -> None:
    """Print the counts, the floors from the top to the bottom, and the circles of modules."""
    known = modules(root)
    graph = {name: imports(file, known) - {name} for name, file in known.items()}
    arrows = rooms(graph)
    back, acyclic = upward(arrows)
    level = floors(acyclic)
    count, rings = sum(map(len, arrows.values())), circles(graph)
    loose = len([name for name in known if name.startswith("runtime.") and (root / "runtime") == known[name].parent])
    print(f"{len(arrows)} rooms, {max(level.values())} floors, {count} arrows, {len(back)} up, {len(rings)} circles")
    print(f"{loose} modules directly in runtime/")
    for floor in sorted(set(level.values()), reverse=True):
        print(f"{floor:3} {', '.join(sorted(room for room in level if level[room] == floor))}")
    for room, target in back:
        print(f"up: {room} imports {target}")
    for ring in rings:
        print(f"circle: {', '.join(sorted(ring))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2])
