"""Training recipes: one YAML file, one frozen model; an unknown key is an error.

A recipe trains one network through named stages. `base: other.yaml` takes everything from another file beside it and
changes only what it says itself. A list of recipes (`recipes:`) is a table that is trained in dependency order.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from train.resmlp import Architecture

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
Name = Annotated[str, StringConstraints(pattern=NAME)]


class ConfigError(ValueError):
    """A YAML file does not say what it must; the message is one line for the user."""


class Strict(BaseModel):
    """A frozen configuration that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(Strict):
    """The network: a ResMLP (see `train.resmlp.Architecture`), or a convolutional teacher (`train.cnn`) of some width."""

    kind: Literal["resmlp", "cnn"] = "resmlp"
    activation: Literal["relu", "bspline", "psa", "lerp_psa"] = "lerp_psa"
    embed: int = Field(96, ge=1, le=4096)  # channels
    hidden: int = Field(96, ge=1, le=16384)  # channels
    blocks: int = Field(4, ge=1, le=64)
    grid: int = Field(64, ge=2, le=4096)  # points on [-4, 4]
    expansion: int = Field(8, ge=1, le=64)  # features of PSA
    width: int = Field(64, ge=2, le=1024)  # channels of a cnn's first stage

    def architecture(self) -> Architecture:
        return Architecture(**self.model_dump(exclude={"kind", "width"}))


class StageConfig(Strict):
    """One stage of training.

    `float` trains the network, `transfer` one block after the other towards the teacher's features (epochs are per
    block), `quantized` trains it with quantizers, BatchNorms absorbed.
    """

    kind: Literal["float", "transfer", "quantized"] = "float"
    epochs: int = Field(50, ge=1)
    batch: int = Field(128, ge=2)  # images
    optimizer: Literal["adamw", "muon", "sgd"] = "adamw"  # muon: for matrices, with adamw for everything else
    learning_rate: float = Field(1e-3, gt=0)  # the peak, at the start of a cosine
    final_learning_rate: float = Field(1e-5, ge=0)  # at its end
    warmup: float = Field(0.0, ge=0, lt=1)  # share of the stage in which the rate rises linearly
    weight_decay: float = Field(0.0, ge=0)  # of matrices and convolutions
    precision: Literal["float32", "bfloat16"] = "float32"  # of products and activations; weights stay float32
    randaugment: bool = True
    mix: Literal["none", "mixup", "cutmix"] = "none"  # of pairs of images in a batch, shares from a uniform distribution
    views: int | None = Field(None, ge=1)  # distinct augmentations of an image, taken in turn; None: a new one each epoch
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    teacher_share: float = Field(0.8, ge=0, le=1)  # of the loss, where the recipe has a teacher; the rest are the labels
    temperature: float = Field(1.0, gt=0)  # of the teacher's and the student's soft targets
    ema: float = Field(0.0, ge=0, lt=1)  # decay per step of the averaged weights that are evaluated and kept; 0: none
    tv2: float = Field(1e-5, ge=0)  # weight of a B-spline's second variation


class Recipe(Strict):
    """A network, its teacher if it has one (the name of another recipe), and its stages in order."""

    name: Name
    model: ModelConfig = ModelConfig()
    teacher: Name | None = None
    stages: dict[Name, StageConfig] = {"float": StageConfig(), "quantized": StageConfig(kind="quantized", epochs=10, learning_rate=1e-4)}
    seed: int = Field(0, ge=0, lt=2**31)
    train_images: int | None = Field(None, ge=2)  # only the first so many training images; None: all

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        kinds = [stage.kind for stage in self.stages.values()]
        if not 1 <= len(kinds) <= MOST_STAGES:
            raise ValueError(f"stages: needs 1 to {MOST_STAGES} stages, got {len(kinds)}")
        if "transfer" in kinds and self.teacher is None:
            raise ValueError("stages: a transfer needs a teacher; name one with `teacher:`")
        if "transfer" in kinds[1:]:
            raise ValueError("stages: a transfer comes first, it makes the network that the others train")
        if "quantized" in kinds[:-1]:
            raise ValueError("stages: a quantized stage comes last, and once")
        if kinds == ["quantized"]:
            raise ValueError("stages: a quantized stage needs a float one before it")
        for name in (name for name, stage in self.stages.items() if stage.kind == "transfer"):
            clash = {f"{name}_{index}" for index in range(self.model.blocks)} & set(self.stages)
            if clash:
                raise ValueError(f"stages: {min(clash)!r} is what the files of a block of {name!r} are called; choose another name")
        if self.model.kind == "cnn" and set(kinds) != {"float"}:
            raise ValueError("stages: a cnn is a teacher and trains in float stages only")
        return self


MOST_STAGES = 8


class TableRecipe(Strict):
    """Recipes that belong together, by file name without suffix, in any order: teachers are trained first."""

    recipes: list[Name] = Field(min_length=1)


Config = TypeVar("Config", bound=Strict)


def read_yaml(path: Path | str) -> Any:
    """The plain values of a YAML file; ConfigError of one line where it is none."""
    path = Path(path)
    try:
        return yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a readable text file ({error.__class__.__name__})") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None


def load_yaml(kind: type[Config], path: Path | str) -> Config:
    """Read `path` into `kind`; every fault is a ConfigError of one line that names the file and the key."""
    values = read_yaml(path)
    return validate(kind, values if values is not None else {}, str(path))


def load_recipe(path: Path | str) -> Recipe:
    """A recipe with what it takes from its `base`, a file in the same folder."""
    return validate(Recipe, _with_base(Path(path), ()), str(path))


def load_table(path: Path) -> list[Recipe]:
    """The recipes of a table, each after its teacher."""
    names = load_yaml(TableRecipe, path).recipes
    recipes = {name: load_recipe(path.parent / f"{name}.yaml") for name in names}
    for name, recipe in recipes.items():
        if recipe.name != name:
            raise ConfigError(f"{path.parent / name}.yaml: name: must be {name!r} like the file, got {recipe.name!r}")
    ordered: list[Recipe] = []
    while len(ordered) < len(recipes):
        done = {recipe.name for recipe in ordered}
        ready = [r for r in recipes.values() if r.name not in done and (r.teacher not in recipes or r.teacher in done)]
        if not ready:
            circle = ", ".join(sorted(set(recipes) - done))
            raise ConfigError(f"{path}: recipes: teachers teach each other in a circle ({circle})")
        ordered += ready
    return ordered


def _with_base(path: Path, seen: tuple[Path, ...]) -> Any:
    values = read_yaml(path)
    if not isinstance(values, dict) or "base" not in values:
        return values if values is not None else {}
    base = values.pop("base")
    if not isinstance(base, str) or Path(base).name != base or base in ("", ".."):
        raise ConfigError(f"{path}: base: must be the name of a file in the same folder, got {base!r}")
    if path in seen:
        raise ConfigError(f"{path}: base: takes from itself")
    below = _with_base(path.parent / base, (*seen, path))
    return _merged(below, values) if isinstance(below, dict) else below


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` over `below`, sections key by key; an explicit null takes a section or key away."""
    out = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            value = _merged(out[key], value)
        if value is None:
            out.pop(key, None)
        else:
            out[key] = value
    return out


def validate(kind: type[Config], values: object, where: str) -> Config:
    """`values` as `kind`; a ConfigError of one line otherwise."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_one_line(kind, error)}") from None


def _one_line(kind: type[BaseModel], error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    if first["type"] != "extra_forbidden":
        return f"{key}: {first['msg'][:1].lower()}{first['msg'][1:]}, got {first['input']!r}" if key else first["msg"]
    section: type[BaseModel] = kind
    for part in first["loc"][:-1]:
        if str(part) in section.model_fields:  # else a key of a dictionary, whose values `section` is already
            annotation = section.model_fields[str(part)].annotation
            kinds = (annotation, *get_args(annotation))
            section = next((k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)), section)
    return f"unknown key {key!r}; known here: {', '.join(section.model_fields)}"
