"""Which scans a run does, and under which names their images go."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mrcli.io.discovery import Candidate, discover


@dataclass(frozen=True)
class Job:
    """One scan to do: its file, its name below the folder given, and the stem of its outputs."""

    path: Path
    name: str
    stem: PurePosixPath


def plan_jobs(paths: Sequence[Path], shard: tuple[int, int] | None = None) -> tuple[Job, ...]:
    """List the scans below `paths`, or share K of N of them; raises `InputError` without any.

    Two scans of one folder that differ in their suffix only keep it in the names of their images.
    Two of different folders given may still ask for one name: the second is then refused when it
    is written.
    """
    candidates = discover(paths)
    stems = Counter(_stem(candidate) for candidate in candidates)
    jobs = tuple(_job(candidate, stems) for candidate in candidates)
    return jobs if shard is None else jobs[shard[0] - 1 :: shard[1]]


def _stem(candidate: Candidate) -> PurePosixPath:
    return PurePosixPath(candidate.relative.with_suffix("").as_posix())


def _job(candidate: Candidate, stems: Counter[PurePosixPath]) -> Job:
    name, stem = candidate.relative.as_posix(), _stem(candidate)
    return Job(candidate.path, name, stem if stems[stem] == 1 else PurePosixPath(name))
