"""Configs of layers whose constructors take classes and functions."""

import functools
import inspect
import types

import keras


class PlainConfig:
    """Gives the constructor's arguments as the config."""

    def __new__(cls, *args, **kwargs):
        layer = super().__new__(cls, *args, **kwargs)
        given = inspect.signature(cls.__init__).bind(layer, *args, **kwargs).arguments
        own = ("self", "kwargs", "name", "dtype", "trainable")  # Keras gives these itself
        vars(layer)["_given"] = {name: value for name, value in given.items() if name not in own}
        return layer

    def get_config(self):
        return {**super().get_config(), **self._given}


class Configurable:
    """Gives the constructor's arguments as the config; classes and functions go by their registered names."""

    def __new__(cls, *args, **kwargs):
        layer = super().__new__(cls, *args, **kwargs)
        bound = inspect.signature(cls.__init__).bind(layer, *args, **kwargs)
        given = dict(list(bound.arguments.items())[1:])
        for name in [p.name for p in bound.signature.parameters.values() if p.kind is p.VAR_KEYWORD]:
            given.update(given.pop(name, {}))
        vars(layer)["_given"] = {
            name: value for name, value in given.items() if name not in ("name", "dtype", "trainable")
        }
        return layer

    def get_config(self):
        config = keras.layers.Layer.get_config(self)
        if isinstance(self, keras.Sequential):
            del config["dtype"]  # its constructor takes none
        return {**config, **{name: _packed(value) for name, value in self._given.items()}}

    @classmethod
    def from_config(cls, config):
        config = {name: _unpacked(value) for name, value in config.items()}
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        last = next((k for k, p in enumerate(parameters) if p.kind is p.VAR_POSITIONAL), None)
        if last is None or parameters[last].name not in config:
            return cls(**config)
        spread = config.pop(parameters[last].name)
        return cls(*(config.pop(p.name) for p in parameters[:last]), *spread, **config)


def _packed(value):
    """A value in which classes and functions are their registered names."""
    if isinstance(value, functools.partial):
        return {"partial_of": _packed(value.func), "named": _packed(value.keywords)}
    if isinstance(value, types.SimpleNamespace):
        return {"namespace": _packed(vars(value))}
    if isinstance(value, type) or inspect.isfunction(value):
        return {"registered": keras.saving.get_registered_name(value)}
    if hasattr(value, "get_config"):  # a layer, or an object of plain values
        return keras.saving.serialize_keras_object(value)
    if isinstance(value, dict):
        return {name: _packed(item) for name, item in value.items()}
    return type(value)(map(_packed, value)) if isinstance(value, list | tuple) else value


def _unpacked(value):
    """The value that was packed."""
    if isinstance(value, dict) and "partial_of" in value:
        return functools.partial(_unpacked(value["partial_of"]), **_unpacked(value["named"]))
    if isinstance(value, dict) and "namespace" in value:
        return types.SimpleNamespace(**_unpacked(value["namespace"]))
    if isinstance(value, dict) and "registered" in value:
        return keras.saving.get_registered_object(value["registered"])
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value)
    if isinstance(value, dict):
        return {name: _unpacked(item) for name, item in value.items()}
    return type(value)(map(_unpacked, value)) if isinstance(value, list | tuple) else value


class Attributes:
    """An object of plain values, which Keras saves with the layers that are given it."""

    def __init__(self, **values):
        vars(self).update(values)

    def get_config(self):
        return {name: _packed(value) for name, value in vars(self).items()}

    @classmethod
    def from_config(cls, config):
        made = cls.__new__(cls)
        vars(made).update({name: _unpacked(value) for name, value in config.items()})
        return made


def not_ported(what):
    """Refuse what the ported model did not use, and what could not be written."""
    raise ValueError(f"not ported: {what}")
