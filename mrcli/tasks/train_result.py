"""Where a training stands after a call."""

from dataclasses import dataclass

from mrcli.tasks.train_settings import TrainSettings


@dataclass(frozen=True)
class TrainResult:
    """The steps that were taken, and the model once all are."""

    settings: TrainSettings
    step: int
    n_taken: int  # steps of this call
    seconds: float | None  # of all calls; None where an earlier version did not count
    gain_db: float | None  # over the first image, mean of the last steps
    adapters: tuple[str, ...] = ()  # that were written
    speaks: bool = True  # for all processes of this training
    exit_code: int = 0

    @property
    def is_done(self) -> bool:
        """Say whether the last step is taken."""
        return self.step >= self.settings.n_steps

    def document(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "stage": self.settings.stage,
            "step": self.step,
            "n_steps": self.settings.n_steps,
            "n_taken": self.n_taken,
            "is_done": self.is_done,
            "seconds": self.seconds,
            "gain_db": self.gain_db,
            "model": str(self.settings.model) if self.is_done else None,
            "adapters": list(self.adapters),
        }
