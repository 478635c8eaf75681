"""Which scans a run does, and under which names their images go."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mrcli.errors import InputError
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
    Raises `InputError` where two scans would still write the same files: nothing is done then.
    """
    candidates = discover(paths)
    stems = Counter(_stem(candidate) for candidate in candidates)
    jobs = tuple(_job(candidate, stems) for candidate in candidates)
    _require_distinct(jobs)
    return jobs if shard is None else jobs[shard[0] - 1 :: shard[1]]


def _require_distinct(jobs: Sequence[Job]) -> None:
    owners: dict[PurePosixPath, Job] = {}
    for job in jobs:
        other = owners.setdefault(job.stem, job)
        if other is not job:
            raise InputError(
                f"{other.name} and {job.name} would both be written as {job.stem}",
                hint="rename one of them, or reconstruct them into different folders",
            )


def _stem(candidate: Candidate) -> PurePosixPath:
    return PurePosixPath(candidate.relative.with_suffix("").as_posix())


def _job(candidate: Candidate, stems: Counter[PurePosixPath]) -> Job:
    name, stem = candidate.relative.as_posix(), _stem(candidate)
    return Job(candidate.path, name, stem if stems[stem] == 1 else PurePosixPath(name))
