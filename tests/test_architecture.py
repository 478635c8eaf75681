"""The shape of the package: one direction of imports, no knots, small modules, a light start."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mrcli"
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"torch", "numpy", "h5py", "scipy", "skimage", "matplotlib", "nibabel", "jaxtyping"}

# lower layers know nothing of higher ones; those of equal rank may know each other
RANKS = {
    "cli": 5,
    "tasks": 4,
    "report": 3,
    "pipeline": 3,
    "methods": 3,
    "network_method": 3,
    "io": 3,
    "checks": 3,
    "survey": 3,
    "axes": 3,
    "simulate": 3,
    "models": 3,
    "training": 3,
    "adapt": 3,
    "scan": 2,
    "image": 2,
    "provenance": 2,
    "metrics": 2,
    "nn": 2,
    "adapters": 2,
    "device": 2,
    "memory": 2,
    "precision": 2,
    "physics": 1,
    "config": 1,
    "schemas": 1,
    "types": 0,
    "errors": 0,
    "findings": 0,
    "site": 0,
}
PHYSICS_KNOWS = {"physics", "types", "errors", "findings"}


def name_of(path):
    parts = ("mrcli", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def is_for_types_only(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def top_level(node):
    """Every statement that runs at import: not those in functions, nor those for types only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or is_for_types_only(child):
            continue
        yield child
        yield from top_level(child)


def targets(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        below = [f"{module}.{alias.name}" for alias in node.names]
        return [name if name in NAMES else module for name in below]
    return []


def imports(path, nodes):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {target for node in nodes(tree) for target in targets(node)}
    return {name for name in found if name.startswith((".", "mrcli"))}


def layer(module):
    return module.split(".")[1] if "." in module else ""


def reachable(start, graph):
    seen, todo = set(), list(graph[start])
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += graph.get(module, ())
    return seen


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_downwards(path):
    own = layer(name_of(path))
    if not own or own == "__main__":
        return
    assert own in RANKS, f"give {own} a rank"
    for module in imports(path, ast.walk):
        assert RANKS[layer(module)] <= RANKS[own], f"{name_of(path)} imports {module}"


def test_physics_knows_no_file_model_or_command():
    for path in (PACKAGE / "physics").glob("*.py"):
        foreign = {layer(module) for module in imports(path, ast.walk)} - PHYSICS_KNOWS
        assert not foreign, f"{name_of(path)} imports {foreign}"


def test_no_module_imports_itself_through_others():
    graph = {name_of(path): imports(path, top_level) for path in MODULES}
    assert [module for module in graph if module in reachable(module, graph)] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_are_absolute_and_never_from_an_ancestor_package(path):
    own = name_of(path)
    for module in imports(path, ast.walk):
        assert not module.startswith("."), f"{own} imports {module}"
        is_main = own == "mrcli.__main__"
        assert is_main or not own.startswith(f"{module}."), f"{own} imports from {module}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_stay_below_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 300


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_no_numerics(option):
    script = (
        "import sys\n"
        "from mrcli.cli.app import app\n"
        "try:\n"
        f"    app([{option!r}])\n"
        "finally:\n"
        "    print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not HEAVY & set(ast.literal_eval(run.stderr))


def test_every_import_of_the_command_line_at_its_start_is_light():
    graph = {name_of(path): imports(path, top_level) for path in MODULES}
    for module in reachable("mrcli.cli.app", graph) & graph.keys():
        path = next(path for path in MODULES if name_of(path) == module)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found = {target.partition(".")[0] for node in top_level(tree) for target in targets(node)}
        assert not HEAVY & found, f"{module} imports {HEAVY & found}"
