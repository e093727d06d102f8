"""Configurations: frozen, without unknown fields, filled by a YAML recipe and `key=value` overrides.

Each configuration lives beside its owner as a subclass of `Config`. There is no interpolation and no inheritance
between files: what the file says is what runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from slonik.core.errors import SlonikError, unknown_name
from slonik.core.numbers import MOST_SEED

FORMAT = 1


def _is_ours(value: int) -> int:
    """A recipe of another version is refused before any work."""
    if value != FORMAT:
        raise ValueError(
            f"this slonik reads recipes of format {FORMAT}: use the slonik that the recipe was written for, or "
            "write it anew"
        )
    return value


RecipeFormat = Annotated[int, AfterValidator(_is_ours)]
"""A field of a recipe's config; its default is `FORMAT`."""
Seed = Annotated[int, Field(ge=0, le=MOST_SEED)]
"""A field of a config: a seed that every random generator takes."""


class Config(BaseModel):
    """Base of every configuration: immutable; an unknown field, and a number that is none or not finite, is an error.

    A group that is given in part keeps the rest of the default that stands beside its field, where that differs from
    the defaults of the group's own class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _on_own_defaults(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        defaults = {
            name: field.default.model_dump(exclude_unset=True)
            for name, field in cls.model_fields.items()
            if isinstance(field.default, Config) and isinstance(values.get(name), Mapping)
        }
        return {**values, **{name: {**default, **values[name]} for name, default in defaults.items()}}


C = TypeVar("C", bound=BaseModel)
NULL = object()
"""An override that says null; None among overrides is an option that was not given."""


def build_config(cls: type[C], values: Mapping[str, Any], *, source: str = "the configuration") -> C:
    """`cls(**values)` with one clear sentence for the first bad field.

    Raises:
        SlonikError: unknown field (did you mean), missing field, wrong type or value out of range.
    """
    try:
        return cls.model_validate(dict(values))
    except ValidationError as error:
        raise SlonikError(f"{source}: {_sentence(error, cls)}") from None


def _sentence(error: ValidationError, cls: type[BaseModel]) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        where = "".join(f"{part}." for part in first["loc"][:-1])
        return unknown_name(field, [where + name for name in _fields_at(cls, first["loc"][:-1])], "field")
    if first["type"] == "missing":
        return f"the field {field!r} is missing"
    if not field:
        return first["msg"].removeprefix("Value error, ")
    said = f" is {first['input']!r}" if not isinstance(first["input"], dict) else ""  # a whole section says nothing
    message = first["msg"].removeprefix("Value error, ").replace("a valid tuple", "a list")
    return f"the field {field!r}{said}: {message}"


def _fields_at(cls: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Field names of the (nested) configuration at `location`."""
    current, item = cls, False
    for part in location:
        if item:  # a place in a list, or a key: the configuration that lies there is known already
            item = False
            continue
        field = current.model_fields.get(str(part))
        nested, item = _items_in(field.annotation) if field else (None, False)
        if nested is None:
            return []
        current = nested
    return list(current.model_fields)


def _items_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The configuration that a field holds, and whether it holds several of it, in a list or by name."""
    if models := _models_in(annotation):
        return models[0], get_origin(annotation) in (list, tuple, dict)
    return next((found for part in get_args(annotation) if (found := _items_in(part))[0] is not None), (None, False))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The configurations that a field may hold: `Inner`, or those in `Inner | None`."""
    options = get_args(annotation) or (annotation,)
    return [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]


class _Path:
    """The place of a field; an attribute of it is the place of a field in it. Equal to its dotted name."""

    __slots__ = ("_kinds_", "_names_")

    def __init__(self, names: tuple[str, ...], kinds: Sequence[type[BaseModel]]) -> None:
        self._names_, self._kinds_ = names, kinds

    def __getattr__(self, name: str) -> _Path:
        for kind in self._kinds_:
            if name in kind.model_fields:
                return _Path((*self._names_, name), _models_in(kind.model_fields[name].annotation))
        place = ".".join((*self._names_, name))
        known = [".".join((*self._names_, field)) for kind in self._kinds_ for field in kind.model_fields]
        raise AttributeError(unknown_name(place, known, "field"))

    def __str__(self) -> str:
        return ".".join(self._names_)

    def __repr__(self) -> str:
        return f"<field {self}>"

    def __hash__(self) -> int:
        return hash(str(self))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Path | str) and str(self) == str(other)


def fields_of(cls: type[C], under: object = None) -> C:
    """Names of the fields of a configuration as a type checker knows them: keys for `read_config`.

    `at = fields_of(CompressConfig)`, then `at.prune.layers` stands for the name "prune.layers": "find usages" of the
    field leads there, and a field that is not there is found by the type checker. What is returned holds no values.

    Args:
        under: the field that holds `cls`, where it is a part that may be None: `fields_of(TrimConfig, at.trim)`.

    Raises:
        TypeError: `under` is no field, or one that does not hold `cls`.
    """
    if under is None:
        return cast(C, _Path((), [cls]))
    if not isinstance(under, _Path) or cls not in under._kinds_:
        raise TypeError(f"{under!r} is no field that holds a {cls.__name__}")
    return cast(C, _Path(under._names_, [cls]))


def read_recipe(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML recipe file.

    Raises:
        SlonikError: no such file, not YAML, or not a mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SlonikError(f"there is no recipe {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SlonikError(f"cannot read the recipe {path}: {error}") from None
    content = _from_yaml(text, f"the recipe {path}")
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SlonikError(f"the recipe {path} is not a mapping of fields to values")
    return content


def read_config(cls: type[C], path: str | Path | None, overrides: Mapping[Any, Any] | None = None) -> C:
    """A configuration from a recipe file (optional) with overrides on top.

    Args:
        overrides: fields (of `fields_of`) or dotted names ("distill.epochs") -> values; None values are left out, NULL
            sets a field to None.
    """
    values = read_recipe(path) if path is not None else {}
    for field, value in (overrides or {}).items():
        if value is not None:
            _set(values, str(field).split("."), None if value is NULL else value)
    return build_config(cls, values, source=f"the recipe {path}" if path is not None else "the options")


def configure(
    cls: type[C],
    recipe: str | Path | Mapping[str, Any] | None,
    fields: Mapping[Any, Any],
    overrides: Mapping[Any, Any] | Sequence[str] = (),
) -> C:
    """The configuration of a call of the library: a recipe, named options over it, overrides over both.

    Args:
        recipe: a YAML file, or its content.
        fields: fields (of `fields_of`) -> values; None = not given.
        overrides: "key=value" as after --set, or fields or dotted names -> values, where None sets a field to None.

    Raises:
        SlonikError: a field that is not there, a value that is not allowed, or a group that is set whole where one of
            its fields has a named option, which would be lost.
    """
    over = parse_overrides(overrides) if not isinstance(overrides, Mapping) else _with_null(overrides)
    for group in map(str, over):
        lost = next((str(f) for f, v in fields.items() if v is not None and str(f).startswith(f"{group}.")), None)
        if lost is not None:
            raise SlonikError(
                f"set {group} replaces all of its fields, and {lost} is given as an option: set the fields one by one, "
                f"as in {group}.NAME=VALUE"
            )
    if not isinstance(recipe, Mapping):
        return read_config(cls, recipe, {**fields, **over})
    named = {field: value for field, value in fields.items() if value is not None}
    return read_config(cls, None, {**_with_null(recipe), **named, **over})


def _with_null(values: Mapping[Any, Any]) -> dict[Any, Any]:
    return {field: NULL if value is None else value for field, value in values.items()}


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """`["a.b=1", "c=x", "d=null"]` as {"a.b": 1, "c": "x", "d": NULL}; values are read as YAML.

    Raises:
        SlonikError: an item without "=", or a value that is not YAML.
    """
    overrides: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise SlonikError(f"--set {pair!r} is not of the form key=value")
        read = _from_yaml(value, f"the value of --set {pair!r}")
        overrides[name] = NULL if read is None else read
    return overrides


def _from_yaml(text: str, what: str) -> Any:
    """What `text` says in YAML.

    Raises:
        SlonikError: it is not YAML, or a value in it is none (a 13th month).
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        detail = " ".join(str(error).split())
        if isinstance(error, yaml.MarkedYAMLError) and error.problem and error.problem_mark:
            mark = error.problem_mark
            detail = f"{error.problem} (line {mark.line + 1}, column {mark.column + 1})"
        raise SlonikError(f"{what} is not valid YAML: {detail}") from None


def _set(values: dict[str, Any], names: Sequence[str], value: Any) -> None:
    """Set a field in place, the groups and lists on the way copied; `systems.0.name` is a field of the first system.

    Raises:
        SlonikError: a list has no such item.
    """
    name, *rest = names
    if not rest:
        values[name] = value
        return
    nested = values.get(name)
    if isinstance(nested, list | tuple):
        if not (rest[0].isdigit() and int(rest[0]) < len(nested)):
            places = f"{name}.0 to {name}.{len(nested) - 1}, or " if nested else ""
            raise SlonikError(
                f"{name} is a list of {len(nested)}, and {name}.{rest[0]} is none of them: give {places}the whole list"
            )
        items = {str(number): item for number, item in enumerate(nested)}
        _set(items, rest, value)
        values[name] = list(items.values())
        return
    values[name] = dict(nested) if isinstance(nested, dict) else {}
    _set(values[name], rest, value)
