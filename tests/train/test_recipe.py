"""Recipes: every fault is one line that names the file and the key."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from train.recipe import ConfigError, ModelConfig, Recipe, StageConfig, load_yaml, validate

RECIPES = Path(__file__).parents[2] / "train" / "recipes"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def error(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_yaml(Recipe, path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_a_name_is_enough(tmp_path: Path) -> None:
    recipe = load_yaml(Recipe, written(tmp_path, "name: tiny"))
    assert recipe.name == "tiny"
    assert recipe.model == ModelConfig() and recipe.float_training == StageConfig()


def test_values_are_taken(tmp_path: Path) -> None:
    recipe = load_yaml(
        Recipe,
        written(
            tmp_path,
            """
        name: a-b_c.1
        model: {activation: relu, embed: 8, hidden: 24, blocks: 2, grid: 16, expansion: 4}
        float_training: {epochs: 3, batch: 16, learning_rate: 0.01}
        seed: 5
        train_images: 100
        """,
        ),
    )
    assert (recipe.model.hidden, recipe.float_training.batch, recipe.seed, recipe.train_images) == (24, 16, 5, 100)
    architecture = recipe.model.architecture()
    assert (architecture.activation, architecture.embed, architecture.grid, architecture.expansion) == ("relu", 8, 16, 4)


def test_a_recipe_is_frozen_and_survives_a_round_trip(tmp_path: Path) -> None:
    recipe = load_yaml(Recipe, written(tmp_path, "name: tiny\nmodel: {hidden: 24}"))
    with pytest.raises(ValidationError):
        recipe.seed = 3
    assert validate(Recipe, recipe.model_dump(), "here") == recipe


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_recipe_is_valid_and_named_like_its_file(path: Path) -> None:
    assert load_yaml(Recipe, path).name == path.stem


FAULTS = {
    "unknown key": ("name: a\nsede: 3", ("unknown key 'sede'", "known here: name, model, float_training", "seed")),
    "unknown key in the model": (
        "name: a\nmodel: {width: 3}",
        ("unknown key 'model.width'", "known here: activation, embed, hidden, blocks"),
    ),
    "unknown key in a stage": (
        "name: a\nquantized_training: {epoch: 3}",
        ("unknown key 'quantized_training.epoch'", "known here: epochs, batch"),
    ),
    "unknown key in the finish": (
        "name: a\nfinish_training: {epoch: 3}",
        ("unknown key 'finish_training.epoch'", "known here: epochs, batch"),
    ),
    "bad value in the finish": ("name: a\nfinish_training: {epochs: 0}", ("finish_training.epochs", "greater than or equal to 1", "got 0")),
    "no name": ("seed: 3", ("name: field required",)),
    "bad name": ("name: ../up", ("name: ", "pattern", "'../up'")),
    "unknown activation": (
        "name: a\nmodel: {activation: swish}",
        ("model.activation", "'relu', 'bspline', 'psa' or 'lerp_psa'", "'swish'"),
    ),
    "width of zero": ("name: a\nmodel: {hidden: 0}", ("model.hidden", "greater than or equal to 1", "got 0")),
    "impossible width": ("name: a\nmodel: {hidden: 1000000}", ("model.hidden", "less than or equal to 16384", "got 1000000")),
    "no epochs": ("name: a\nfloat_training: {epochs: 0}", ("float_training.epochs", "greater than or equal to 1", "got 0")),
    "negative rate": ("name: a\nfloat_training: {learning_rate: -1}", ("float_training.learning_rate", "greater than 0", "got -1")),
    "text for a number": ("name: a\nfloat_training: {batch: many}", ("float_training.batch", "integer", "'many'")),
    "half an image": ("name: a\ntrain_images: 2.5", ("train_images", "integer", "2.5")),
    "a stage that is no section": ("name: a\nfloat_training: 3", ("float_training", "got 3")),
    "a list": ("- name: a", ("dictionary",)),
    "a word": ("recipe", ("dictionary",)),
    "empty": ("", ("name: field required",)),
    "a number as key": ("name: a\n3: 4", ("3",)),
    "not YAML": ("name: [a", ("not valid YAML",)),
    "tabs": ("name: a\nmodel:\n\thidden: 3", ("not valid YAML",)),
    "a Python object": ("name: !!python/object/apply:os.system [echo]", ("not valid YAML",)),
    "two documents": ("name: a\n---\nname: b", ("not valid YAML",)),
}


@pytest.mark.parametrize(("text", "words"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_one_line(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    message = error(written(tmp_path, text))
    for word in words:
        assert word in message


def test_no_file(tmp_path: Path) -> None:
    assert error(tmp_path / "none.yaml") == "no such file"


def test_a_folder(tmp_path: Path) -> None:
    assert error(tmp_path) == "not a readable text file (IsADirectoryError)"


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(bytes(range(128, 256)))
    assert error(path).startswith("not a readable text file")
