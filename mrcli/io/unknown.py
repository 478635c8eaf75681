"""Says what a file holds when no reader takes it."""

from pathlib import Path
from typing import NoReturn

from mrcli.errors import MissingField, UnknownFormat
from mrcli.io.cmrxrecon_mat import kspace_name
from mrcli.io.files import ZIP_SIGNATURE, describe_content, head_bytes, is_hdf5
from mrcli.io.hdf5 import listed, names_in, opened, require_dataset
from mrcli.io.mat5 import is_mat5, list_variables
from mrcli.io.npy import list_members


def raise_unknown(path: Path, readers: str) -> NoReturn:
    """Raise what is wrong with `path`: damage if there is some, else what it holds instead.

    Raises:
        DataError: the container is truncated or corrupt.
        MissingField: the container is sound and lacks k-space.
        UnknownFormat: the content is nothing that a reader knows.

    """
    _refuse_what_is_called_kspace(path)
    names = _names(path)
    if names is None:
        raise UnknownFormat(
            f"{path.name}: {describe_content(path)}, no k-space", hint=f"readers are {readers}"
        )
    raise MissingField(
        f"{path.name}: no field 'kspace', the {describe_content(path).split(' ', 1)[1]} holds "
        f"{listed(names)}",
        hint="k-space is called 'kspace', 'kspace_full' or 'kus'",
    )


def _refuse_what_is_called_kspace(path: Path) -> None:
    """Say what is wrong with the field that has the name of k-space, where HDF5 holds one."""
    if is_hdf5(path):
        with opened(path) as file:
            name = kspace_name(names_in(file))
            if name is not None:
                require_dataset(file, name)


def _names(path: Path) -> tuple[str, ...] | None:
    if is_hdf5(path):
        with opened(path) as file:
            return names_in(file)
    if is_mat5(path):
        return tuple(list_variables(path))
    if head_bytes(path, len(ZIP_SIGNATURE)) == ZIP_SIGNATURE:
        return list_members(path) or None
    return None
