"""What all records share: dictionaries with attributes, read from answered bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from milepost.errors import ServerFault
from milepost.exact import Exact


class Record(dict[str, Any]):
    """What was answered, at one moment: a dictionary whose keys are attributes too.

    It is the caller's own: changing it changes nothing that is stored.
    """

    _READERS: ClassVar[Mapping[str, Callable[[Any], Any]]] = {}
    # What every body of the kind has; one without it comes from something that is no Milepost.
    _NEEDED: ClassVar[str] = ""

    @classmethod
    def of(cls, body: object) -> Self:
        """The record of an answered body; fields that this version does not know are kept as they are.

        Raises ServerFault for what is no such body.
        """
        readers = cls._READERS
        if not isinstance(body, Mapping) or cls._NEEDED not in body:
            raise ServerFault(f"Milepost answered with what is no {cls.__name__}: is base_url its own address?")
        try:
            return cls(
                {
                    name: readers[name](value) if value is not None and name in readers else value
                    for name, value in body.items()
                }
            )
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ServerFault(f"Milepost answered with a {cls.__name__} that cannot be read: {error}") from error

    @classmethod
    def all_of(cls, bodies: object) -> list[Self]:
        """The records of a list of bodies; raises ServerFault."""
        return [cls.of(body) for body in listed(bodies)]

    if not TYPE_CHECKING:  # a type checker knows the fields from their declarations, and no others

        def __getattr__(self, name: str) -> Any:
            try:
                return self[name]
            except KeyError:
                raise AttributeError(f"{type(self).__name__} has no {name}") from None

        def __setattr__(self, name: str, value: Any) -> None:
            if name not in self:
                raise AttributeError(f"{type(self).__name__} has no {name}")
            self[name] = value

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name}: a field of a {type(self).__name__} cannot be deleted")

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> Any:
        """Lets an application's FastAPI routes and pydantic models name the record as a type."""
        from pydantic_core import core_schema

        serialization = core_schema.plain_serializer_function_ser_schema(_for_json, when_used="json")
        return core_schema.is_instance_schema(cls, serialization=serialization)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: Any, _handler: Any) -> dict[str, Any]:
        return {"type": "object", "title": cls.__name__}


def listed(body: object) -> list[Any]:
    """An answered list; raises ServerFault for what is none."""
    if not isinstance(body, list):
        raise ServerFault("Milepost answered with what is no list: is base_url its own address?")
    return body


def _for_json(value: Any) -> Any:
    """Amounts as numbers, as the documentation has them: one that Milepost takes loses no digit as a float."""
    if isinstance(value, Exact):
        return float(value)
    if isinstance(value, Mapping):
        return {name: _for_json(each) for name, each in value.items()}
    return [_for_json(each) for each in value] if isinstance(value, list) else value
