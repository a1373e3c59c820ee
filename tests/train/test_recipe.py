"""Recipes, what they take from each other, and tables of them; every fault is one line that names the file and the key."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from train.recipe import ConfigError, ModelConfig, Recipe, StageConfig, load_recipe, load_table, read_yaml, validate

RECIPES = Path(__file__).parents[2] / "train" / "recipes"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return path


def error(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_a_name_is_enough(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, "name: tiny"))
    assert recipe.name == "tiny" and recipe.model == ModelConfig() and recipe.teacher is None
    assert list(recipe.stages) == ["float", "quantized"]
    assert recipe.stages["float"] == StageConfig() and recipe.stages["quantized"].kind == "quantized"


def test_values_are_taken_and_stages_keep_their_order(tmp_path: Path) -> None:
    text = """
        name: a-b_c.1
        model: {activation: relu, embed: 8, hidden: 24, blocks: 2, grid: 16, expansion: 4}
        teacher: wise
        stages:
          z: {kind: transfer, epochs: 3, batch: 16, learning_rate: 0.01}
          a: {optimizer: muon, mix: cutmix, views: 3}
          q: {kind: quantized}
        seed: 5
        train_images: 100
    """
    recipe = load_recipe(written(tmp_path, text))
    assert (recipe.model.hidden, recipe.stages["z"].batch, recipe.seed, recipe.train_images) == (24, 16, 5, 100)
    assert [(name, stage.kind) for name, stage in recipe.stages.items()] == [("z", "transfer"), ("a", "float"), ("q", "quantized")]
    architecture = recipe.model.architecture()
    assert (architecture.activation, architecture.embed, architecture.grid, architecture.expansion) == ("relu", 8, 16, 4)


def test_a_recipe_is_frozen_and_survives_a_round_trip(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, "name: tiny\nmodel: {hidden: 24}"))
    with pytest.raises(ValidationError):
        recipe.seed = 3
    assert validate(Recipe, recipe.model_dump(), "here") == recipe


SHIPPED = {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}
TABLES = [name for name, path in SHIPPED.items() if "recipes" in read_yaml(path)]


@pytest.mark.parametrize("name", sorted(SHIPPED.keys() - set(TABLES)))
def test_every_shipped_recipe_is_valid_and_named_like_its_file_and_its_teacher_ships_too(name: str) -> None:
    recipe = load_recipe(SHIPPED[name])
    assert recipe.name == name
    assert recipe.teacher is None or recipe.teacher in SHIPPED


@pytest.mark.parametrize("name", TABLES)
def test_every_shipped_table_is_valid_and_holds_its_teachers(name: str) -> None:
    recipes = load_table(SHIPPED[name])
    names = [recipe.name for recipe in recipes]
    assert sorted(names) == sorted(read_yaml(SHIPPED[name])["recipes"])
    for at, recipe in enumerate(recipes):
        assert recipe.teacher is None or recipe.teacher in names[:at]


def test_the_articles_cells_differ_in_activation_and_width_alone() -> None:
    cells = {name: load_recipe(path) for name, path in SHIPPED.items() if name.startswith("article_")}
    assert len(cells) == 12
    for name, cell in cells.items():
        _, activation, hidden = name.replace("lerp_psa", "lerp-psa").split("_")
        model = {"activation": activation.replace("-", "_"), "hidden": int(hidden.removeprefix("h"))}
        expected = cells["article_lerp_psa_h96"].model_dump()
        assert cell.model_dump() == expected | {"name": name, "model": expected["model"] | model}


ONE = "name: a\nteacher: t\nstages: {%s}"
FAULTS = {
    "unknown key": ("name: a\nsede: 3", ("unknown key 'sede'", "known here: name, model, teacher, stages, seed")),
    "unknown key in the model": (
        "name: a\nmodel: {depth: 3}",
        ("unknown key 'model.depth'", "known here: kind, activation, embed, hidden, blocks"),
    ),
    "unknown key in a stage": (
        "name: a\nstages: {float: {epoch: 3}}",
        ("unknown key 'stages.float.epoch'", "known here: kind, epochs, batch"),
    ),
    "unknown key in a stage named like a key": (
        "name: a\nstages: {ema: {epoch: 3}}",
        ("unknown key 'stages.ema.epoch'", "known here: kind"),
    ),
    "the sections of an earlier release": ("name: a\nfloat_training: {epochs: 3}", ("unknown key 'float_training'", "stages")),
    "no name": ("seed: 3", ("name: field required",)),
    "bad name": ("name: ../up", ("name: ", "pattern", "'../up'")),
    "bad name of a teacher": ("name: a\nteacher: ../up", ("teacher: ", "pattern", "'../up'")),
    "bad name of a stage": ("name: a\nstages: {../up: {}}", ("stages", "pattern", "'../up'")),
    "unknown activation": (
        "name: a\nmodel: {activation: swish}",
        ("model.activation", "'relu', 'bspline', 'psa' or 'lerp_psa'", "'swish'"),
    ),
    "unknown kind": ("name: a\nmodel: {kind: vit}", ("model.kind", "'resmlp' or 'cnn'", "'vit'")),
    "width of zero": ("name: a\nmodel: {hidden: 0}", ("model.hidden", "greater than or equal to 1", "got 0")),
    "impossible width": ("name: a\nmodel: {hidden: 1000000}", ("model.hidden", "less than or equal to 16384", "got 1000000")),
    "impossible width of a cnn": ("name: a\nmodel: {kind: cnn, width: 1}", ("model.width", "greater than or equal to 2", "got 1")),
    "no epochs": (ONE % "s: {epochs: 0}", ("stages.s.epochs", "greater than or equal to 1", "got 0")),
    "negative rate": (ONE % "s: {learning_rate: -1}", ("stages.s.learning_rate", "greater than 0", "got -1")),
    "an infinite rate": (ONE % "s: {learning_rate: .inf}", ("stages.s.learning_rate", "finite")),
    "unknown optimizer": (ONE % "s: {optimizer: lion}", ("stages.s.optimizer", "'adamw', 'muon' or 'sgd'", "'lion'")),
    "unknown mix": (ONE % "s: {mix: all}", ("stages.s.mix", "'none', 'mixup' or 'cutmix'", "'all'")),
    "unknown precision": (ONE % "s: {precision: int4}", ("stages.s.precision", "'float32' or 'bfloat16'", "'int4'")),
    "unknown kind of stage": (ONE % "s: {kind: finish}", ("stages.s.kind", "'float', 'transfer' or 'quantized'", "'finish'")),
    "an average that forgets nothing": (ONE % "s: {ema: 1}", ("stages.s.ema", "less than 1", "got 1")),
    "more than the whole loss": (ONE % "s: {teacher_share: 1.5}", ("stages.s.teacher_share", "less than or equal to 1", "got 1.5")),
    "cold": (ONE % "s: {temperature: 0}", ("stages.s.temperature", "greater than 0", "got 0")),
    "text for a number": (ONE % "s: {batch: many}", ("stages.s.batch", "integer", "'many'")),
    "half an image": ("name: a\ntrain_images: 2.5", ("train_images", "integer", "2.5")),
    "a stage that is no section": (ONE % "s: 3", ("stages.s", "got 3")),
    "no stages": (ONE % "", ("stages: needs 1 to 8 stages, got 0",)),
    "too many stages": (ONE % ", ".join(f"s{i}: {{}}" for i in range(9)), ("stages: needs 1 to 8 stages, got 9",)),
    "transfer without a teacher": ("name: a\nstages: {t: {kind: transfer}}", ("a transfer needs a teacher", "`teacher:`")),
    "transfer in the middle": (ONE % "f: {}, t: {kind: transfer}", ("a transfer comes first",)),
    "two transfers": (ONE % "t: {kind: transfer}, u: {kind: transfer}", ("a transfer comes first",)),
    "quantized in the middle": (ONE % "f: {}, q: {kind: quantized}, g: {}", ("a quantized stage comes last, and once",)),
    "quantized alone": (ONE % "q: {kind: quantized}", ("a quantized stage needs a float one before it",)),
    "a quantized cnn": ("name: a\nmodel: {kind: cnn}", ("a cnn is a teacher and trains in float stages only",)),
    "a stage with the name of a block's files": (ONE % "t: {kind: transfer}, t_2: {}", ("'t_2'", "a block of 't'", "another name")),
    "a list": ("- name: a", ("dictionary",)),
    "a word": ("recipe", ("dictionary",)),
    "empty": ("", ("name: field required",)),
    "a number as key": ("name: a\n3: 4", ("3",)),
    "not YAML": ("name: [a", ("not valid YAML",)),
    "tabs": ("name: a\nmodel:\n\thidden: 3", ("not valid YAML",)),
    "a Python object": ("name: !!python/object/apply:os.system [echo]", ("not valid YAML",)),
    "two documents": ("name: a\n---\nname: b", ("not valid YAML",)),
    "a base of a number": ("name: a\nbase: 3", ("base: must be the name of a file in the same folder, got 3",)),
    "a base in another folder": ("name: a\nbase: ../b.yaml", ("base: must be the name of a file in the same folder, got '../b.yaml'",)),
    "an absolute base": ("name: a\nbase: /etc/passwd", ("base: must be the name of a file in the same folder, got '/etc/passwd'",)),
    "the folder above as a base": ("name: a\nbase: ..", ("base: must be the name of a file in the same folder, got '..'",)),
    "an empty base": ("name: a\nbase: ''", ("base: must be the name of a file in the same folder, got ''",)),
    "itself as a base": ("name: a\nbase: recipe.yaml", ("base: takes from itself",)),
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


def folder(tmp_path: Path, **files: str) -> Path:
    """Write YAML files; the folder."""
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


BASE = """
name: base
model: {activation: relu, hidden: 24}
teacher: wise
stages:
  float: {epochs: 3, batch: 16, views: 2}
  quantized: {kind: quantized, epochs: 2}
seed: 4
"""


def test_a_recipe_takes_what_it_does_not_say_from_its_base(tmp_path: Path) -> None:
    above = "base: base.yaml\nname: above\nmodel: {hidden: 48}\nstages: {float: {epochs: 9}}"
    top = "base: above.yaml\nname: top\nseed: 5\nstages: {float: {batch: 32}}"
    place = folder(tmp_path, base=BASE, above=above, top=top)
    base, middle, last = (load_recipe(place / f"{name}.yaml") for name in ("base", "above", "top"))
    expected = base.model_dump()
    expected["name"], expected["model"]["hidden"], expected["stages"]["float"]["epochs"] = "above", 48, 9
    assert middle.model_dump() == expected
    expected["name"], expected["seed"], expected["stages"]["float"]["batch"] = "top", 5, 32
    assert last.model_dump() == expected
    assert list(last.stages) == ["float", "quantized"]


def test_null_takes_away_what_the_base_says(tmp_path: Path) -> None:
    above = "base: base.yaml\nname: above\nteacher: null\nseed: null\nmodel: null\nstages: {quantized: null, float: {views: null}}"
    recipe = load_recipe(folder(tmp_path, base=BASE, above=above) / "above.yaml")
    assert recipe.teacher is None and recipe.seed == 0 and recipe.model == ModelConfig()
    assert recipe.stages == {"float": StageConfig(epochs=3, batch=16)}


def test_a_new_stage_comes_behind_the_bases_stages(tmp_path: Path) -> None:
    above = "base: base.yaml\nname: above\nstages: {quantized: null, more: {epochs: 7}}"
    assert list(load_recipe(folder(tmp_path, base=BASE, above=above) / "above.yaml").stages) == ["float", "more"]


def test_bases_in_a_circle_and_missing_ones_are_one_line(tmp_path: Path) -> None:
    place = folder(tmp_path, a="base: b.yaml\nname: a", b="base: c.yaml", c="base: a.yaml", lost="base: none.yaml\nname: lost")
    assert error(place / "a.yaml") == "base: takes from itself"
    with pytest.raises(ConfigError, match=rf"^{re.escape(str(place))}/none\.yaml: no such file$"):
        load_recipe(place / "lost.yaml")


def test_an_unknown_key_of_the_base_is_told(tmp_path: Path) -> None:
    place = folder(tmp_path, base=BASE + "sede: 3", above="base: base.yaml\nname: above")
    assert error(place / "above.yaml").startswith("unknown key 'sede'")


def table(tmp_path: Path, teachers: dict[str, str | None]) -> Path:
    """A table of recipes in this order, each with its teacher."""
    recipes = {name: f"name: {name}" + (f"\nteacher: {taught}" if taught else "") for name, taught in teachers.items()}
    return folder(tmp_path, **recipes, table="recipes: [" + ", ".join(teachers) + "]") / "table.yaml"


@pytest.mark.parametrize(("teachers", "order"), [
    ({"a": None, "b": None}, "ab"),
    ({"a": "b", "b": None}, "ba"),
    ({"a": "b", "b": "c", "c": None, "d": "c"}, "cbda"),
    ({"a": "elsewhere", "b": "a"}, "ab"),
])  # fmt: skip
def test_a_table_is_ordered_with_teachers_first(tmp_path: Path, teachers: dict[str, str | None], order: str) -> None:
    names = [recipe.name for recipe in load_table(table(tmp_path, teachers))]
    assert sorted(names) == sorted(order)
    for name, taught in teachers.items():
        assert taught not in teachers or names.index(taught) < names.index(name)
    assert names == list(order)


@pytest.mark.parametrize(
    ("teachers", "circle"), [({"a": "a"}, "a"), ({"a": "b", "b": "a", "c": None}, "a, b"), ({"a": "b", "b": "c", "c": "b"}, "a, b, c")]
)
def test_teachers_in_a_circle_are_refused(tmp_path: Path, teachers: dict[str, str | None], circle: str) -> None:
    path = table(tmp_path, teachers)
    with pytest.raises(ConfigError) as caught:
        load_table(path)
    assert str(caught.value) == f"{path}: recipes: teachers teach each other in a circle ({circle})"


@pytest.mark.parametrize(("text", "words"), [
    ("recipes: []", ("table.yaml: recipes: ", "at least 1")),
    ("recipes: [../a]", ("table.yaml: recipes.0: ", "pattern", "'../a'")),
    ("recipes: [a]\nseed: 3", ("table.yaml: unknown key 'seed'", "known here: recipes")),
    ("recipes: [a, none]", ("none.yaml: no such file",)),
    ("recipes: [a, other]", ("other.yaml: name: must be 'other' like the file, got 'b'",)),
    ("recipes: [a, wrong]", ("wrong.yaml: unknown key 'sede'",)),
])  # fmt: skip
def test_a_fault_of_a_table_is_one_line(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = folder(tmp_path, table=text, a="name: a", other="name: b", wrong="name: wrong\nsede: 3") / "table.yaml"
    with pytest.raises(ConfigError) as caught:
        load_table(path)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
