"""The house rules about one Python module: each takes a parsed module and yields "path:line: what is wrong".

A rule has no exceptions hidden in it: those stand in the tables at the top, each with its reason. `test_rules.py` runs
every rule over the whole tree; `test_rules_bite.py` proves that each one catches what it is for.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from tests.house.tree import COMPONENTS, Module

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

SERVICES = {"ingestion", "filter", "execution", "recorder", "monitor", "watcher", "models", "learning"}
SHELLS = {
    ("filter", "asking.py"),
    ("execution", "courier.py"),
    ("execution", "restoring.py"),
    ("execution", "writer.py"),
    ("models", "promoting.py"),
}
PURE = {"domain", "spec", "messages", "market", "bundles", "features", "ensemble", "risk", "sizing"}

# What reaches outside: the clock, chance, the network, other processes, the log.
IMPURE_MODULES = {
    *{"time", "sched", "random", "secrets", "uuid"},
    *{"socket", "ssl", "select", "http", "urllib.request", "aiohttp", "nats", "redis", "websockets", "requests", "alpaca"},
    *{"asyncio", "threading", "multiprocessing", "subprocess", "concurrent", "uvloop"},
    *{"logging", "structlog", "prometheus_client", "opentelemetry"},
}
IMPURE_CALLS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.urandom", "os.getenv", "print", "input"}
SEEDED_MAKERS = {"default_rng", "Generator", "PCG64", "Philox", "SeedSequence", "SFC64", "BitGenerator"}

NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc", "shared", "stuff"}
ABBREVIATIONS = {"cfg", "ctx", "mgr", "qty", "px", "sz", "idx", "sym", "msg", "tmp", "amt", "pos", "vol", "cnt"}

SLEEPS = {"time.sleep", "asyncio.sleep", "anyio.sleep", "sleep"}
# Tests that wait on purpose, and why nothing better than waiting exists there. path -> reason
SLEEPERS: dict[str, str] = {}

Rule = Callable[[Module], Iterator[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def at(module: Module, node: ast.AST | int, words: str) -> str:
    line = node if isinstance(node, int) else getattr(node, "lineno", 1)
    return f"{module.path}:{line}: {words}"


def functions(module: Module) -> Iterator[Function]:
    return (node for node in ast.walk(module.tree) if isinstance(node, Function))


def dotted(node: ast.expr) -> str:
    """`a.b.c` of a name or attribute, "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def imported(module: Module) -> Iterator[tuple[ast.stmt, str]]:
    """Every imported module, also those inside functions; relative imports are not used in this house."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node, node.module
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


# --- every module ----------------------------------------------------------------------------------------------------


def file_fits(module: Module) -> Iterator[str]:
    lines = module.text.count("\n")
    if lines > FILE_LINES_MAX and not module.generated:
        yield at(module, 1, f"{lines} lines, at most {FILE_LINES_MAX}")


def functions_fit(module: Module) -> Iterator[str]:
    for function in functions(module):
        lines = (function.end_lineno or 0) - function.lineno + 1
        if lines > FUNCTION_LINES_MAX:
            yield at(module, function, f"{function.name} has {lines} lines, at most {FUNCTION_LINES_MAX}")


def module_says_why(module: Module) -> Iterator[str]:
    if module.tree.body and not ast.get_docstring(module.tree):
        yield at(module, 1, "no module docstring")


def module_has_a_name(module: Module) -> Iterator[str]:
    parts = {part.removesuffix(".py") for part in module.path.parts}
    if found := sorted(parts & NAMELESS):
        yield at(module, 1, f"'{found[0]}' says nothing about what is in it")


def names_are_words(module: Module) -> Iterator[str]:
    """Wire names are the venues' own, so adapters, the simulator and tests are left alone."""
    if module.package in {"adapters", "simulator", ""}:
        return
    for function in functions(module):
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        for name in [function.name, *(argument.arg for argument in arguments)]:
            if found := ABBREVIATIONS & set(name.strip("_").split("_")):
                yield at(module, function, f"{name}: '{found.pop()}' is an abbreviation")


def nothing_is_swallowed(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ExceptHandler) and _catches_all(node) and _does_nothing(node):
            yield at(module, node, "catches everything and does nothing")
        if isinstance(node, ast.Call) and _suppresses_all(node):
            yield at(module, node, "suppresses everything")


def _catches_all(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or dotted(handler.type) in {"Exception", "BaseException"}


def _suppresses_all(call: ast.Call) -> bool:
    return dotted(call.func).endswith("suppress") and any(dotted(kind) in {"Exception", "BaseException"} for kind in call.args)


def _does_nothing(handler: ast.ExceptHandler) -> bool:
    quiet = (ast.Pass, ast.Continue, ast.Break)
    return all(isinstance(node, quiet) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in handler.body)


# --- components and operator -----------------------------------------------------------------------------------------


def is_shell(module: Module) -> bool:
    """``service.py``, and where one file would be too long, what it hands the world's side to."""
    return module.path.name == "service.py" or (module.package, module.path.name) in SHELLS


def only_the_service_waits(module: Module) -> Iterator[str]:
    if module.package not in SERVICES or is_shell(module):
        return
    asynchronous = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
    for node in ast.walk(module.tree):
        if isinstance(node, asynchronous):
            yield at(module, node, f"async outside {module.package}/service.py")
            return


def is_pure(module: Module) -> bool:
    """Held to purity: the pure packages, and in a service everything but its shell; generators run by hand are not."""
    if module.path.name.startswith("generate_") or module.path.name in {"__main__.py", "recipe.py"}:
        return False
    return module.package in PURE or (module.package in SERVICES and not is_shell(module))


def pure_stays_pure(module: Module) -> Iterator[str]:
    if not is_pure(module):
        return
    for node, name in imported(module):
        if name in IMPURE_MODULES or name.split(".")[0] in IMPURE_MODULES:
            yield at(module, node, f"imports {name}; {module.package} is pure")
            break
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and (reason := _impure_call(node)):
            yield at(module, node, f"{reason}; {module.package} is pure")


def _impure_call(call: ast.Call) -> str:
    name = dotted(call.func)
    if any(name == impure or name.endswith(f".{impure}") for impure in IMPURE_CALLS):
        return f"calls {name}"
    head, _, last = name.rpartition(".")
    if head in {"np.random", "numpy.random"} and last not in SEEDED_MAKERS:
        return f"calls {name}, which has one hidden state"
    if last == "default_rng" and not call.args and not call.keywords:
        return "default_rng() without a seed"
    return ""


def metric_names_stand_in_telemetry(module: Module) -> Iterator[str]:
    if module.package == "telemetry" or module.in_tests:
        return
    for node in ast.walk(module.tree):
        named = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if re.fullmatch(r"tradingsystem_(?!operator)[a-z0-9_]+", named):
            yield at(module, node, f"'{named}' is named here and not in telemetry")


def notices_are_printed_by_the_cli(module: Module) -> Iterator[str]:
    if module.package in {"cli", ""} or not module.path.is_relative_to(COMPONENTS) or module.path.name.startswith("generate_"):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and dotted(node.func) == "print" and module.path.name not in {"__main__.py", "recipe.py"}:
            yield at(module, node, "prints")


# --- tests -----------------------------------------------------------------------------------------------------------


def each_test_promises_something(module: Module) -> Iterator[str]:
    for function in functions(module):
        if function.name.startswith("test_") and not ast.get_docstring(function):
            yield at(module, function, f"{function.name} does not say what it promises")


def no_test_sleeps(module: Module) -> Iterator[str]:
    if not module.in_tests or str(module.path) in SLEEPERS:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and dotted(node.func) in SLEEPS and not _yields_only(node):
            yield at(module, node, "sleeps")


def _yields_only(call: ast.Call) -> bool:
    """`asyncio.sleep(0)` lets others run; it waits for nothing."""
    return bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


def no_test_skips_itself(module: Module) -> Iterator[str]:
    if not module.in_tests or str(module.path) == "tests/conftest.py":
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and dotted(node) in {
            "pytest.skip",
            "pytest.mark.skip",
            "pytest.mark.skipif",
            "pytest.importorskip",
        }:
            yield at(module, node, f"uses {dotted(node)}")


RULES: dict[Rule, str] = {
    file_fits: "Split it along what its parts are about.",
    functions_fit: "Branches stay in the parent, arithmetic goes to the leaves.",
    module_says_why: "Open the module with why it exists and what it refuses to do.",
    module_has_a_name: "Name it after the thing it holds.",
    names_are_words: "Write the word out.",
    nothing_is_swallowed: "Catch what can be answered, count it or log it, and let the rest pass.",
    only_the_service_waits: "Give the module values and return values; service.py alone talks to the world.",
    pure_stays_pure: "Take the time, the seed or the reply as an argument; service.py asks for them.",
    metric_names_stand_in_telemetry: "Every name once: declare it in telemetry and use the object.",
    notices_are_printed_by_the_cli: "Return it, or log it with keys; only cli prints.",
    each_test_promises_something: "One sentence: what would be broken if this test failed.",
    no_test_sleeps: "Wait for the event itself with a deadline, or drive the clock; else list it in SLEEPERS with a reason.",
    no_test_skips_itself: "Mark what it needs (nats, redis); what each marker asks for stands in tests/conftest.py.",
}
