"""Writes the reference's pages from what `import qjax` exports: no list of modules has to be kept.

Every module that is exported has a page with all that is public in it. The other names stand on a page for the
folder, or the module, of the package that holds them, and after them what is public under that folder's name alone.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import qjax

OPTIONS = {"autoclass": ["members"], "automodule": ["members"]}


def write(folder: Path) -> None:
    """Write `index.rst` and a page for every module and folder, and remove what is there no more."""
    pages = {f"{title}.rst": text for title, text in contents().items()}
    names = [name.removesuffix(".rst") for name in pages]
    intro = "What ``import qjax`` exports, by the folder or module that holds it."
    listed = "\n".join(f"- :doc:`{name}`: {summary(name)}" for name in names)
    tree = "\n   ".join([".. toctree::", ":hidden:", "", *names])
    pages["index.rst"] = "\n\n".join([heading("Reference") + intro, listed, tree, ""])
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.rst"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text() != text:  # what is unchanged is not built again
            path.write_text(text)


def contents() -> dict[str, str]:
    """Return the pages by title."""
    homes = _homes()
    modules = {name: obj for name in qjax.__all__ if isinstance(obj := getattr(qjax, name), ModuleType)}
    folders: dict[str, list[str]] = {}
    for name in sorted(set(qjax.__all__) - set(modules), key=str.lower):
        home = homes.get(name) or getattr(qjax, name).__module__
        folders.setdefault(".".join(home.split(".")[:2]), []).append(name)
    pages = {
        f"qjax.{name}": heading(f"qjax.{name}") + directive("automodule", module.__name__)
        for name, module in modules.items()
    }
    for folder, names in folders.items():
        own = _own(importlib.import_module(folder))
        shown = own if folder in pages else ()
        page = pages.get(folder) or heading(folder) + directive("automodule", folder, members=False)
        page += "\n".join(_entry(name, homes) for name in names if name not in shown)
        if others := [name for name in own if name not in (*shown, *names)]:
            page += f"\nUnder the name of the module, as ``{folder}.{others[0]}``:\n\n"
            page += "\n".join(_described(f"{folder}.{name}") for name in others)
        pages[folder] = page
    return dict(sorted(pages.items()))


def _own(module: ModuleType) -> list[str]:
    """Return what is public under a module's name: what it exports, or else what it defines."""
    defined = [name for name, obj in vars(module).items() if getattr(obj, "__module__", None) == module.__name__]
    return sorted(getattr(module, "__all__", None) or [name for name in defined if name[0] != "_"], key=str.lower)


def summary(title: str) -> str:
    """Return the first sentence of a module's docstring."""
    module = inspect.unwrap(getattr(qjax, title.removeprefix("qjax."), None) or importlib.import_module(title))
    about = module.__doc__ if isinstance(module, ModuleType) else importlib.import_module(title).__doc__
    first = " ".join((about or "").split("\n\n")[0].split())
    return first.replace("`", "``").replace("*", "\\*")


def heading(text: str) -> str:
    """Return a page's title."""
    return f"{text}\n{'=' * len(text)}\n\n"


def directive(kind: str, name: str, members: bool = True) -> str:
    """Return an autodoc directive."""
    chosen = OPTIONS.get(kind, ()) if members else ["no-index"]
    options = "".join(f"   :{option}:\n" for option in chosen)
    return f".. {kind}:: {name}\n{options}\n"


def _entry(name: str, homes: dict[str, str]) -> str:
    """Return the directive that describes one of qjax's names."""
    return directive("autodata", f"{homes[name]}.{name}") if name in homes else _described(f"qjax.{name}")


def _described(name: str) -> str:
    """Return the directive that describes a class or a function."""
    kind = "autoclass" if inspect.isclass(pkgutil.resolve_name(name)) else "autofunction"
    return directive(kind, name)


def _homes() -> dict[str, str]:
    """Return in which module each of the exported names that know no module of their own is described."""
    from sphinx.pycode import ModuleAnalyzer

    plain = {n for n in qjax.__all__ if not (inspect.isclass(o := getattr(qjax, n)) or inspect.isroutine(o))}
    found = {}
    for module in pkgutil.walk_packages(qjax.__path__, "qjax."):
        described = ModuleAnalyzer.for_module(module.name).find_attr_docs()
        found |= {name: module.name for name in plain if ("", name) in described}
    return found


if __name__ == "__main__":
    importlib.invalidate_caches()
    print("\n".join(contents()))
