"""Writes ``spec.models.pinnedVersion`` into the text of a resource and leaves every other byte as it was, comments included.

The place is found in the parsed document, the edit is made in the text, and the result is read again: where it does not say exactly what was meant,
nothing is edited.
"""

import msgspec
import yaml

from tradingsystem.spec.load import load

FIELD = "pinnedVersion"


class NotEditable(ValueError):
    """The document is written in a way that this edit does not know; a person has to do it."""


def pinned(text: str, version: int) -> str:
    """The document with that version pinned, 0 for none. Raises ``InvalidSpec`` for a document with mistakes, ``NotEditable``."""
    before = load(text)
    models = msgspec.structs.replace(before.spec.models, pinned_version=version)
    wanted = msgspec.structs.replace(before, spec=msgspec.structs.replace(before.spec, models=models))
    if wanted == before:
        return text
    edited = _edited(text, version)
    if load(edited) != wanted:
        raise NotEditable(f"spec.models.{FIELD} cannot be edited in this document; write it there by hand")
    return edited


def _edited(text: str, version: int) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)  # the slow loader: its marks count characters
    spec = _under(root, "spec")
    models = _under(spec, "models")
    found = _under(models, FIELD)
    if found is not None:
        return text[: found.start_mark.index] + str(version) + text[found.end_mark.index :]
    quoted = f'"{FIELD}"' if text.lstrip().startswith("{") else FIELD  # JSON
    if models is not None:
        return _into(text, models, FIELD, str(version))
    if spec is not None:
        return _into(text, spec, "models", f"{{{quoted}: {version}}}")
    if isinstance(root, yaml.MappingNode) and not root.flow_style:
        return f"{text.rstrip()}\nspec:\n  models: {{{FIELD}: {version}}}\n"
    return _into(text, root, "spec", f'{{"models": {{{quoted}: {version}}}}}')


def _under(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _into(text: str, mapping: yaml.Node | None, key: str, value: str) -> str:
    """One more field, before the others of a mapping."""
    if not isinstance(mapping, yaml.MappingNode):
        raise NotEditable(f"the field above {key} holds nothing that a field can be added to; write it there by hand")
    at = mapping.start_mark.index
    if not mapping.flow_style:
        return f"{text[:at]}{key}: {value}\n{' ' * mapping.start_mark.column}{text[at:]}"
    quoted = f'"{key}"' if text.lstrip().startswith("{") else key
    return f"{text[: at + 1]}{quoted}: {value}{', ' if mapping.value else ''}{text[at + 1 :]}"
