"""psaflow train: one recipe, float training and quantization-aware training, to a checkpoint."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from pipelines.console import command

log = logging.getLogger(__name__)


@click.command("train")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run [runs/<recipe name>].")
@click.option("--resume", is_flag=True, help="Continue an interrupted run to the same result.")
@click.option("--compile/--no-compile", "compile_model", default=True, help="torch.compile for the float stage.")
@command
def main(recipe: Path, out: Path | None, resume: bool, compile_model: bool, data: Path | None) -> dict[str, Any]:
    """Train RECIPE (a YAML file, or the name of a shipped one)."""
    import train.recipes as shipped
    from train.data import load_cifar10
    from train.recipe import Recipe, load_yaml
    from train.run import train_recipe

    path = recipe
    if not recipe.exists() and recipe.name == str(recipe):
        named = Path(shipped.__file__).parent / f"{recipe.name}.yaml"
        path = named if named.exists() else recipe
    settings = load_yaml(Recipe, path)
    target = out or Path("runs") / settings.name
    checkpoint, metrics = train_recipe(settings, load_cifar10(data), target, resume=resume, compile_model=compile_model)
    return {"checkpoint": str(checkpoint), **asdict(metrics)}


if __name__ == "__main__":
    main()
