"""The command ``train``; apart from the recipes, so that ``--help`` loads nothing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .events import Events

Groups = Any  # argparse's sub-parser action has no public type


def add_train(groups: Groups, common: argparse.ArgumentParser) -> None:
    """``train``: one recipe."""
    parser = groups.add_parser("train", parents=[common], help="train one network (see docs/training.md)")
    parser.add_argument("recipe", help="what to train, such as segmenter; an unknown name is answered with the list")
    parser.add_argument(
        "--data", metavar="FOLDER", help="of the training (default: the one that LOWFIELDENHANCE_DATA names)"
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="for checkpoint, log and weights")
    parser.add_argument(
        "--minutes", type=float, default=30.0, help="of training, resumed pieces together (default: 30)"
    )
    parser.add_argument("--piece-minutes", type=float, help="stop after so many minutes; --resume goes on")
    parser.add_argument("--device", default="cpu", help="auto, cpu (default), cuda or mps")
    parser.add_argument("--threads", type=int, help="number of threads on the CPU (default: as many as torch takes)")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers (default: 0)")
    parser.add_argument(
        "--learning-rate", type=float, metavar="RATE",
        help="at its peak (default: the recipe's; going on with --start asks for less)",
    )  # fmt: skip
    parser.add_argument(
        "--optimizer", choices=("adamw", "muon"), default="adamw",
        help="adamw (default), or muon for the wide convolutions: fewer steps from random weights",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument(
        "--start",
        type=Path,
        metavar="FOLDER",
        help="folder with weights of the same network to go on from (a run, or Resources/Models); for bridged_bridge "
        "also a run of regression_unet",
    )
    parser.add_argument(
        "--degradation",
        type=Path,
        metavar="FILE",
        help="of regression_unet and bridged_bridge: JSON with what the simulated scans are drawn from (see "
        "docs/training.md)",
    )
    parser.add_argument(
        "--preconditioning", choices=("ddpm", "edm"),
        help="of slice_prior: ddpm (default; Ho et al. 2020) or edm (Karras et al. 2022)",
    )  # fmt: skip
    parser.add_argument(
        "--loss-weights", type=float, nargs="+", metavar="WEIGHT",
        help="of bridged_bridge: of the noised pair, the clean estimates and the identity (default: 1 1 0.1); of "
        "bridged_prior: of noise, SSIM and edges (default: 1 1 1)",
    )  # fmt: skip
    parser.add_argument(
        "--structure-every", type=int, metavar="N",
        help="of bridged_bridge: the terms of SSIM and anatomy, the slowest, count in each N-th step (default: 0, in "
        "none)",
    )  # fmt: skip
    css = parser.add_argument_group("of css_generator")
    css.add_argument("--pairing", choices=("none", "weak", "full"), help="how slices are paired (default: full)")
    css.add_argument("--without", metavar="LIST",
                     help="parts left out, separated by commas: cycle, sgp, lsc, adversarial")  # fmt: skip
    css.add_argument("--warm-up", type=float, metavar="SHARE",
                     help="share of the time with denoising alone, before the samplers run (default: 0.6)")  # fmt: skip
    parser.set_defaults(run=run_train)


def run_train(options: argparse.Namespace, events: Events) -> dict[str, Any]:
    """Train and write weights plus training.json."""
    from .devices import choose_device
    from .errors import BadInput
    from .training.data import data_root
    from .training.loop import Plan
    from .training.recipes import run_recipe

    if options.seed < 0:
        raise BadInput(f"--seed {options.seed} must not be below 0")
    if options.threads is not None and options.threads < 1:
        raise BadInput(f"--threads {options.threads} must be at least 1")
    device = choose_device(options.device)
    plan = Plan(
        Path(options.out), options.minutes, options.piece_minutes,
        optimizer=options.optimizer, device=device, resume=options.resume,
    )  # fmt: skip
    given = {
        "pairing": options.pairing,
        "warm_up": options.warm_up,
        "preconditioning": options.preconditioning,
        "degradation": options.degradation,
        "loss_weights": options.loss_weights,
        "structure_every": options.structure_every,
    }
    if options.without is not None:
        given["without"] = [part.strip() for part in options.without.split(",") if part.strip()]
    chosen = {name: value for name, value in given.items() if value is not None}
    record = run_recipe(
        options.recipe, data_root(options.data), plan, options.seed, options.threads, options.start, events,
        options.learning_rate, **chosen,
    )  # fmt: skip
    return json.loads(json.dumps(record, default=str))
