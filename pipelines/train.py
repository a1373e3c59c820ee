"""psaflow train: one recipe, or a whole table of them, from images to checkpoints."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from pipelines.console import UserError, command, torch_device

log = logging.getLogger(__name__)


@click.command("train")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run [runs/<recipe name>]; of a table, of its runs [runs].")
@click.option("--resume", is_flag=True, help="Continue an interrupted run to the same result (a table always does).")
@click.option("--teacher", type=click.Path(path_type=Path), help="Checkpoint of the recipe's teacher [runs/<name>/<name>.pt or shipped].")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto: a GPU where there is one.")
@click.option("--compile/--no-compile", "compile_model", default=True, help="torch.compile for the float stages.")
@command
def main(recipe: Path, out: Path | None, resume: bool, teacher: Path | None, device: str, compile_model: bool,
         data: Path | None) -> dict[str, Any]:  # fmt: skip
    """Train RECIPE (a YAML file, or the name of a shipped one), or every recipe that its `recipes:` lists.

    Under torchrun, each process trains its share of every batch.
    """
    from train import parallel
    from train.data import load_cifar10
    from train.recipe import load_recipe, load_table, read_yaml
    from train.run import teacher_of, train_recipe, train_table

    path = _find(recipe)
    values = read_yaml(path)
    is_table = isinstance(values, dict) and "recipes" in values
    recipes = load_table(path) if is_table else [load_recipe(path)]
    with parallel.processes(torch_device(device)) as place:
        images = load_cifar10(data)
        if is_table:
            if teacher is not None:
                raise UserError("--teacher belongs to one recipe; a table's recipes name their teachers themselves")
            results = train_table(recipes, images, out or Path("runs"), compile_model=compile_model, device=place, found=_shipped)
            return {name: metrics.known() for name, metrics in results.items()}
        only = recipes[0]
        if teacher is not None and only.teacher is None:
            raise UserError(f"--teacher {teacher}: {only.name} learns from no teacher; name one in the recipe with `teacher:`")
        teacher = teacher or teacher_of(only, (out or Path("runs") / only.name).parent, _shipped)
        checkpoint, metrics = train_recipe(only, images, out or Path("runs") / only.name, teacher=teacher, resume=resume,
                                           compile_model=compile_model, device=place)  # fmt: skip
        return {"checkpoint": str(checkpoint), **metrics.known()}


def _find(recipe: Path) -> Path:
    """A file, or the shipped recipe of that name."""
    import train.recipes as shipped

    if recipe.exists() or recipe.name != str(recipe):
        return recipe
    named = Path(shipped.__file__).parent / f"{recipe.name.removesuffix('.yaml')}.yaml"
    return named if named.exists() else recipe


def _shipped(name: str) -> Path | None:
    path = Path(__file__).parents[1] / "checkpoints" / f"{name}.pt"
    return path if path.exists() else None


if __name__ == "__main__":
    main()
