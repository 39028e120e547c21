"""What a run is: one frozen model of groups of options, which becomes flags, a JSON file and a snapshot's identity.

Every default is either the paper's or stated with its reason. Lengths are in kimg: thousands of real images that
the discriminator has seen (for a translator: thousands of pairs), so that they mean the same at every batch size.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import ModelWrapValidatorHandler, ValidationError, model_validator

from training.engine.schedules import Schedule, annealing
from training.objective.losses import LOSSES
from training.options.base import Options, flag, refusal, require
from training.options.shared import Adversary, Data, Machine, Network, Optimizer, Output, Pace, Watch


class Run(Options):
    """The options of one run. Each game has its own kind, with groups of its own where it has more to say."""

    kind: str
    data: Data = Data()
    network: Network = Network()
    game: Adversary = Adversary()
    optimizer: Optimizer = Optimizer()
    pace: Pace = Pace()
    watch: Watch = Watch()
    machine: Machine = Machine()
    output: Output = Output()

    def __init__(self, /, **groups: Any) -> None:
        """Raises InputError: an unknown group or option, or a value that is not one of the option's."""
        try:
            super().__init__(**groups)
        except ValidationError as error:
            known = {name: list(type(group).model_fields) for name, group in self.groups().items()}
            raise refusal(error, known) from error

    @classmethod
    def groups(cls) -> dict[str, Options]:
        """Each group with its defaults, in order."""
        defaults = {name: field.default for name, field in cls.model_fields.items()}
        return {name: default for name, default in defaults.items() if isinstance(default, Options)}

    @classmethod
    def group_of(cls, option: str) -> str:
        """The group that an option stands in; names are unique within a run."""
        return next(name for name, group in cls.groups().items() if option in type(group).model_fields)

    def settled(self) -> dict[str, Any]:
        """What the run left open, {option: value}: here what its loss's paper asks for. A game may add its own."""
        given = {option for name in self.groups() for option in getattr(self, name).model_fields_set}
        return {option: value for option, value in LOSSES[self.game.loss].advises.items() if option not in given}

    @model_validator(mode="wrap")
    @classmethod
    def _settle(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Fills in what was left open, so that a run's file says what it trained with."""
        run = handler(given)
        if options := run.settled():
            filled: dict[str, Any] = run.model_dump(exclude_unset=True)
            for option, value in options.items():
                filled.setdefault(cls.group_of(option), {})[option] = value
            run = handler(filled)
        return run

    @model_validator(mode="after")
    def _check_groups_together(self) -> Self:
        optimizer, pace, watch = self.optimizer, self.pace, self.watch
        require(bool(self.data.data), "data", "is missing: a folder, a .zip, or `fake`", self.data.data)
        require(bool(self.output.out), "out", "is missing: the folder to write the run to", self.output.out)
        require(optimizer.decay_kimg <= pace.kimg, "decay_kimg", "must be in [0, kimg]", optimizer.decay_kimg)
        require(optimizer.g_warmup_kimg < pace.kimg, "g_warmup_kimg", "must be in [0, kimg)", optimizer.g_warmup_kimg)
        require(optimizer.burn_in_kimg <= pace.kimg, "burn_in_kimg", "must be in [0, kimg]", optimizer.burn_in_kimg)
        for name in ("g_lr", "d_lr", "beta2", "r1", "r2"):
            group = getattr(self, self.group_of(name))
            begins = getattr(group, f"burn_in_{name}")
            require(not begins or optimizer.burn_in_kimg > 0, f"burn_in_{name}", "needs --burn-in-kimg", begins)
            require(not begins or getattr(group, name) > 0, f"burn_in_{name}", f"needs {flag(name)}", begins)
        chance = self.game.augment_chance
        require(chance == 1 or bool(self.game.augment), "augment_chance", "needs --augment", chance)
        for name, asked in dict(watch).items():
            if name in ("kid", "extractor") or name.startswith("fid_reference"):
                require(not asked or watch.fid_kimg > 0, name, "needs --fid-kimg, which says when to measure", asked)
        return self

    @property
    def parts(self) -> int:
        """How many parts a process takes its share of a batch in, where a game knows how to."""
        return 1

    def schedules(self) -> dict[str, Schedule]:
        """All that changes over the run, by the words that a person calls it."""
        return {
            "the generator's rate": self.optimizer.g_rate,
            "the discriminator's rate": self.optimizer.d_rate,
            "Adam's beta2": self.optimizer.second_decay,
            "the average's half-life": self.optimizer.half_life,
            "R1": self.penalty("r1"),
            "R2": self.penalty("r2"),
            "augmentation": self.augmented,
            "instance noise": self.game.noise,
        }

    def penalty(self, name: Literal["r1", "r2"]) -> Schedule:
        """The weight of R1 or R2."""
        return self.optimizer.burnt_in(getattr(self.game, f"burn_in_{name}"), getattr(self.game, name))

    @property
    def augmented(self) -> Schedule:
        """The chance that an image is augmented."""
        return annealing(0.0, self.game.augment_chance, self.optimizer.burn_in_kimg)

    def on_a_gpu(self) -> dict[str, bool]:
        """Options of `machine` that make this run faster on a GPU, where a game knows some."""
        return {}

    def advice(self) -> str:
        """A sentence on what the loss's paper asks for, and where this run does otherwise; "" where it asks nothing."""
        asked = LOSSES[self.game.loss].advises
        kept, others = [], []
        for option, value in asked.items():
            mine = getattr(getattr(self, self.group_of(option)), option)
            if mine == value:
                kept.append(f"{flag(option)} {value:g}")
            else:
                others.append(f"{flag(option)} {mine:g} (the paper: {value:g})")
        parts = [f"as its paper: {', '.join(kept)}"] if kept else []
        parts += [f"otherwise: {', '.join(others)}"] if others else []
        return f"--loss {self.game.loss}, {'; '.join(parts)}" if parts else ""

    def changed(self, **groups: Mapping[str, Any]) -> Self:
        """The same run with other values for some options, {group: {option: value}}; checked anew."""
        everything = self.model_dump()
        return type(self)(**everything | {name: everything[name] | dict(new) for name, new in groups.items()})


def check_projected(run: Run, norm: str, usual: tuple[str, ...], side_name: str, side: int) -> None:
    """What would ask a projected discriminator for second derivatives, or for another shape than it has.

    Args:
        norm, usual: the norm that was asked for, and those that leave it its own.
        side_name, side: the option that says at which side its backbone sees images.
    """
    game = run.game
    require(norm in usual, "discriminator_norm", "is settled for a projected discriminator: leave it out", norm)
    loss = LOSSES[game.loss]
    critic = loss.gradient_penalty is not None or loss.weight_clip is not None
    require(not critic, "loss", "must be one without a penalty or clipping for a projected discriminator", game.loss)
    for name, weight in (("r1", game.r1), ("r2", game.r2)):
        require(weight == 0, name, "does not go with a projected discriminator", weight)
    matching = game.feature_matching
    require(matching == 0, "feature_matching", "does not go with a projected discriminator", matching)
    require(side >= 64 and side % 32 == 0, side_name, "must be a multiple of 32, 64 or more", side)
