"""Tables of named objects, which installed packages can extend with plug-ins. A plug-in is an entry point of a package.

The entry points are read when a name is not in the built-in table, or when all names are listed. A plug-in is imported
when its name is used or listed. A broken plug-in is reported once, and everything else continues to work.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from orilla.devices.errors import ConfigError, unknown_name
from orilla.devices.finding import Finding

if TYPE_CHECKING:
    from importlib.metadata import Distribution

PREFIX = "orilla."
"""Prefix of Orilla's entry point groups, such as `orilla.tasks`."""

MAX_REASON = 300
"""Maximum length of the reason in a message about a broken plug-in."""

T = TypeVar("T", covariant=True)

_REPORTED: set[str] = set()
"""Warnings about broken plug-ins that this process has already reported."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point of an installed package."""

    group: str
    name: str
    value: str
    """The object that the plug-in adds, as `MODULE:OBJECT`. It is empty if the entry points of the package cannot be
    read."""
    package: str
    """Name and version of the package."""

    @property
    def distribution(self) -> str:
        """Return the name of the package for `pip`."""
        return self.package.partition(" ")[0]


class Row(Protocol):
    """A row in a table of modules. The module is imported when the row's name is used."""

    @property
    def module(self) -> str:
        """Return the full name of the module."""


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class Modules:
    """Properties that all modules of a table share."""

    defines: tuple[str, ...]
    """Names that each module must define. This is checked only for plug-ins."""
    room: str = ""
    """Package that contains the modules of the built-in rows. If empty, the rows contain full module names."""
    heavy: bool = False
    """True if the modules import large libraries, which may crash. Such a plug-in is examined without importing its
    module."""


class Registry(Mapping[str, T], Generic[T]):
    """A table of objects by name. The built-in objects come first, then the objects of plug-ins.

    Broken plug-ins are not in the table. Iteration does not read the entry points before the last built-in name.

    Args:
        kind: Noun for messages, such as `task`.
        group: Group of the entry points.
        row_type: Type of the objects, or `MODULE:CLASS`, which is imported only to check a plug-in.
        built_in: The objects that are part of Orilla. A string `MODULE:OBJECT` is imported when its name is used.
        check: Function that receives the name and the object of a plug-in, and returns the reason why the object cannot
            be used, or None.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        row_type: type[Any] | str,
        built_in: Mapping[str, T | str],
        check: Callable[[str, Any], str | None] | None = None,
    ) -> None:
        self.kind, self.group = kind, group
        self.built_in: Mapping[str, T | str] = MappingProxyType(dict(built_in))
        self._type, self._check = row_type, check

    def __getitem__(self, name: str) -> T:
        if name in self.built_in:
            row = self.built_in[name]
            return cast("T", imported(row)) if isinstance(row, str) else row
        if name not in (declared := self._declared()) or self._reported(declared[name]) is not None:
            raise KeyError(name)
        return cast("T", imported(declared[name][0].value))

    def __contains__(self, name: object) -> bool:
        if name in self.built_in:
            return True
        return name in (declared := self._declared()) and self._reported(declared[name]) is None

    def __iter__(self) -> Iterator[str]:
        yield from self.built_in
        for name, plugins in self._declared().items():
            if self._reported(plugins) is None:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def find(self, name: str) -> T:
        """Return an object by name.

        Raises:
            ConfigError: The name is unknown, or its plug-in is broken.
        """
        if name not in self.built_in and name in (declared := self._declared()):
            reason = self._problem(declared[name])
            if reason is not None:
                raise ConfigError(self._warning(declared[name], reason))
        if name not in self:
            raise unknown_name(name, self, kind=self.kind)
        return self[name]

    def package(self, name: str) -> str | None:
        """Return the package that adds a name, with its version. Return None for a built-in or unknown name."""
        declared = {} if name in self.built_in else self._declared()
        return declared[name][0].package if name in declared else None

    def described(self, text: Callable[[str, T], str] | None = None, separator: str = ", ") -> str:
        """Return one line for help texts that lists the table. It also names the packages of plug-ins.

        Args:
            text: Function that returns the text for a name and its object. If None, the names are listed, and no object
                that is part of Orilla is imported.
            separator: Text between two objects.
        """
        texts = {name: name if text is None else text(name, self[name]) for name in self}
        packages = {name: self.package(name) for name in texts}
        return separator.join(f"{texts[name]} (of {of})" if of else texts[name] for name, of in packages.items())

    def findings(self) -> list[Finding]:
        """Return a finding for each plug-in of this table. A broken plug-in is a warning."""
        findings = []
        for name, plugins in self._declared().items():
            subject, packages = f"plug-in {name}", " and ".join(plugin.package for plugin in plugins)
            reason = self._problem(plugins) or self._module_problem(name)
            if reason is None:
                findings.append(Finding(subject, "ok", f"{self.kind} of {packages}"))
            else:
                _REPORTED.add(self._warning(plugins, reason))
                detail = f"{self.kind} of {packages} is not used: {reason}"
                findings.append(Finding(subject, "warning", detail, _fix(plugins)))
        return findings

    def _declared(self) -> dict[str, list[Plugin]]:
        """Return the plug-ins of this table by name. A name with several plug-ins is ambiguous."""
        declared: dict[str, list[Plugin]] = {}
        for plugin in installed_plugins():
            if plugin.group == self.group:
                declared.setdefault(plugin.name, []).append(plugin)
            elif not plugin.group:
                report(f"{_unreadable(plugin)}; {_fix([plugin])}")
        return dict(sorted(declared.items()))

    def _problem(self, plugins: Sequence[Plugin]) -> str | None:
        """Return the reason why the plug-ins of one name cannot be used, or None."""
        name = plugins[0].name
        if name in self.built_in:
            return f"the {self.kind} `{name}` is part of Orilla"
        if len(plugins) > 1:
            return f"{len(plugins)} packages add the {self.kind} `{name}`"
        try:
            row = imported(plugins[0].value)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the code of a plug-in may raise anything
            return reason_of(error)
        row_type = cast("type[Any]", imported(self._type)) if isinstance(self._type, str) else self._type
        if not isinstance(row, row_type):
            return f"{plugins[0].value} is an object of type {type(row).__name__}, not {row_type.__name__}"
        return None if self._check is None else self._check(name, row)

    def _module_problem(self, name: str) -> str | None:
        """Return the reason why the module of a plug-in cannot be used, or None if no reason is known."""
        del name
        return None

    def _reported(self, plugins: Sequence[Plugin]) -> str | None:
        """Return the problem of the plug-ins of one name, or None. Log each problem once."""
        reason = self._problem(plugins)
        if reason is not None:
            report(self._warning(plugins, reason))
        return reason

    def _warning(self, plugins: Sequence[Plugin], reason: str) -> str:
        packages = " and ".join(plugin.package for plugin in plugins)
        return f"the {self.kind} `{plugins[0].name}` of {packages} is not used: {reason}; {_fix(plugins)}"


class ModuleRegistry(Registry[R]):
    """A table of rows, each of which names the module that does the work.

    Args:
        kind: Noun for messages.
        group: Group of the entry points.
        built_in: The rows that are part of Orilla, at least one. Rows of plug-ins must have the same type.
        modules: Properties that all modules share.
    """

    def __init__(self, kind: str, group: str, built_in: Mapping[str, R], modules: Modules) -> None:
        super().__init__(kind, group, type(next(iter(built_in.values()))), built_in)
        self._modules = modules

    def module(self, name: str) -> ModuleType:
        """Import the module of a name and return it.

        Raises:
            ConfigError: The name is unknown, or its plug-in is broken.
        """
        row = self.find(name)
        if name in self.built_in:
            room = self._modules.room
            return import_module(f"{room}.{row.module}" if room else row.module)
        if (reason := self._import_problem(name)) is not None:
            raise ConfigError(self._warning(self._declared()[name], reason))
        return import_module(row.module)

    def _module_problem(self, name: str) -> str | None:
        return None if self._modules.heavy else self._import_problem(name)

    def _import_problem(self, name: str) -> str | None:
        row = self[name]
        try:
            module = import_module(row.module)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the code of a plug-in may raise anything
            return reason_of(error)
        missing = [defined for defined in self._modules.defines if defined not in vars(module)]
        return f"{row.module} does not define {', '.join(missing)}" if missing else None


def report(warning: str) -> None:
    """Log a warning about a broken plug-in, unless this process has already reported it."""
    if warning not in _REPORTED:
        import logging  # Import `logging` only when something is logged, so that the start is faster.

        _REPORTED.add(warning)
        logging.getLogger("orilla").warning("%s", warning)


@cache
def installed_plugins() -> tuple[Plugin, ...]:
    """Return the entry points of all installed packages in Orilla's groups. No plug-in is imported.

    They are read once per process. If the entry points of a package cannot be read, the result contains a plug-in
    without a name for the package.
    """
    if not _some_may_exist():
        return ()
    from importlib.metadata import distributions  # Import this module only here, because the import is slow.

    found: dict[str, list[Plugin]] = {}
    for distribution in distributions():
        plugins = _plugins_of(distribution)
        if plugins:  # If a package is installed several times, Python imports the first installation.
            found.setdefault(plugins[0].distribution, plugins)
    return tuple(plugin for plugins in found.values() for plugin in plugins)


def _some_may_exist() -> bool:
    """Return False if no installed package has an entry point in an Orilla group.

    A search through the files takes less time than the import of `importlib.metadata`.
    """
    for folder in dict.fromkeys(sys.path):
        try:
            paths = list(Path(folder).iterdir())
        except NotADirectoryError:
            return True  # The packages in an archive are not searched.
        except OSError:
            continue
        for path in paths:
            if path.suffix == ".egg" or (path.suffix in (".dist-info", ".egg-info") and _mentions_group(path)):
                return True
    return False


def _mentions_group(metadata: Path) -> bool:
    with suppress(OSError):
        return f"[{PREFIX}".encode() in (metadata / "entry_points.txt").read_bytes()
    return False


def _plugins_of(distribution: Distribution) -> list[Plugin]:
    """Return the entry points of one package in Orilla's groups."""
    try:
        text = distribution.read_text("entry_points.txt")
    except (OSError, ValueError):
        return []
    if text is None or f"[{PREFIX}" not in text:
        return []
    package = "a package with damaged metadata"
    try:
        package = " ".join(f"{distribution.metadata['Name']} {distribution.version}".split())
        points = [point for point in distribution.entry_points if point.group.startswith(PREFIX)]
    except Exception:  # noqa: BLE001 - the metadata of another package may be damaged in any way
        return [Plugin("", "", "", package)]
    return [Plugin(point.group, point.name, point.value, package) for point in points]


def imported(value: str) -> object:
    """Import the object of an entry point, `MODULE:OBJECT` or `MODULE:OBJECT.ATTRIBUTE`."""
    module, _, attributes = value.partition(":")
    found: object = import_module(module.strip())
    for attribute in filter(None, attributes.strip().split(".")):
        found = getattr(found, attribute)
    return found


def reason_of(error: BaseException) -> str:
    """Return the type of an error and the first line of its message."""
    line = next(iter(str(error).strip().splitlines()), "")
    return ": ".join(part for part in (type(error).__name__, line) if part)[:MAX_REASON]


def examine(groups: Mapping[str, str]) -> list[Finding]:
    """Return a finding for each installed plug-in.

    Args:
        groups: For each entry point group, the path `MODULE:OBJECT` of the `Registry` that contains its plug-ins. The
            registry is imported only if a package has plug-ins in the group.
    """
    findings, plugins = [], installed_plugins()
    for plugin in plugins:
        if not plugin.group:
            _REPORTED.add(f"{_unreadable(plugin)}; {_fix([plugin])}")
            findings.append(Finding("plug-ins", "warning", _unreadable(plugin), _fix([plugin])))
        elif plugin.group not in groups:
            detail = f"{plugin.package} adds `{plugin.name}` to the unknown group {plugin.group}"
            fix = f"the authors of the package must use one of the groups {', '.join(groups)}"
            findings.append(Finding("plug-ins", "warning", detail, fix))
    for group, registry in groups.items():
        if any(plugin.group == group for plugin in plugins):
            findings += cast("Registry[object]", imported(registry)).findings()
    return findings


def _unreadable(plugin: Plugin) -> str:
    return f"the entry points of {plugin.package} cannot be read: a line of its entry_points.txt is invalid"


def _fix(plugins: Sequence[Plugin]) -> str:
    names = [plugin.distribution for plugin in plugins]
    if len(names) > 1:
        return f"uninstall all but one of these packages (pip uninstall {names[0]})"
    return f"update or uninstall the package (pip install --upgrade {names[0]}, or pip uninstall {names[0]})"
