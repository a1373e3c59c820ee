"""Training recipes: one YAML file, one frozen model; an unknown key is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from train.resmlp import Architecture


class ConfigError(ValueError):
    """A YAML file does not say what it must; the message is one line for the user."""


class Strict(BaseModel):
    """A frozen configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(Strict):
    """The network; see `train.resmlp.Architecture`."""

    activation: Literal["relu", "bspline", "psa", "lerp_psa"] = "lerp_psa"
    embed: int = Field(96, ge=1, le=4096)  # channels
    hidden: int = Field(96, ge=1, le=16384)  # channels
    blocks: int = Field(4, ge=1, le=64)
    grid: int = Field(64, ge=2, le=4096)  # points on [-4, 4]
    expansion: int = Field(8, ge=1, le=64)  # features of PSA

    def architecture(self) -> Architecture:
        return Architecture(**self.model_dump())


class StageConfig(Strict):
    """One stage of training."""

    epochs: int = Field(50, ge=1)
    batch: int = Field(128, ge=2)  # images
    learning_rate: float = Field(1e-3, gt=0)  # of AdamW, at the start of a cosine
    final_learning_rate: float = Field(1e-5, ge=0)  # at its end
    randaugment: bool = True
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    tv2: float = Field(1e-5, ge=0)  # weight of a B-spline's second variation


class Recipe(Strict):
    """A model and its stages: float training, optionally a finish (weaker augmentation, say), then quantization-aware
    training from the absorbed float model.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    model: ModelConfig = ModelConfig()
    float_training: StageConfig = StageConfig()
    finish_training: StageConfig | None = None
    quantized_training: StageConfig = StageConfig(epochs=10, learning_rate=1e-4)
    seed: int = Field(0, ge=0, lt=2**31)
    train_images: int | None = Field(None, ge=2)  # only the first so many training images; None: all


Config = TypeVar("Config", bound=Strict)


def load_yaml(kind: type[Config], path: Path | str) -> Config:
    """Read `path` into `kind`; every fault is a ConfigError of one line that names the file and the key."""
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a readable text file ({error.__class__.__name__})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    return validate(kind, values if values is not None else {}, str(path))


def validate(kind: type[Config], values: object, where: str) -> Config:
    """`values` as `kind`; a ConfigError of one line otherwise."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_one_line(kind, error)}") from None


def _one_line(kind: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"{key}: {first['msg'][:1].lower()}{first['msg'][1:]}, got {first['input']!r}" if key else first["msg"]
    section: type[BaseModel] = kind
    for part in first["loc"][:-1]:
        if str(part) in section.model_fields:  # else a key of a dictionary, whose values `section` is already
            kinds = (section.model_fields[str(part)].annotation, *get_args(section.model_fields[str(part)].annotation))
            section = next(k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel))
    return f"unknown key {key!r}; known here: {', '.join(section.model_fields)}"
