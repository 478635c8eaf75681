"""Real images as anatomy: kept apart by patient, scaled, checked."""

import numpy as np
import pytest
import torch

from mrcli.errors import DataError, InputError, MissingField, ShapeError
from mrcli.io.anatomy_images import load_anatomy_images
from realdata import real_file


def archive(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_images_are_sorted_by_patient_and_lie_between_0_and_1(tmp_path):
    images = np.arange(4 * 32 * 32, dtype=np.uint16).reshape(4, 32, 32)
    path = archive(tmp_path / "a.npz", image=images, patient=np.array(["b", "a", "b", "a"]))
    anatomy = load_anatomy_images(path)
    assert [one.shape for one in anatomy.by_patient] == [(2, 32, 32)] * 2
    expected = torch.from_numpy((images[1] / images[[1, 3]].max()).astype(np.float32))
    torch.testing.assert_close(anatomy.by_patient[0][0], expected)
    assert all(float(one.max()) == 1 for one in anatomy.by_patient)


GOOD = np.ones((2, 32, 32)) * np.linspace(0, 1, 32)


@pytest.mark.parametrize(
    ("arrays", "error", "words"),
    [
        ({"image": GOOD}, MissingField, "patient"),
        ({"patient": np.arange(2)}, MissingField, "image"),
        ({"image": GOOD[0], "patient": np.arange(2)}, ShapeError, r"needed is \(n, row, column\)"),
        ({"image": GOOD, "patient": np.arange(3)}, ShapeError, "2 images need as many"),
        ({"image": GOOD * 1j, "patient": np.arange(2)}, DataError, "magnitudes are needed"),
        ({"image": GOOD - 1, "patient": np.arange(2)}, DataError, "finite magnitudes"),
        ({"image": GOOD * np.nan, "patient": np.arange(2)}, DataError, "finite magnitudes"),
        ({"image": 0 * GOOD, "patient": np.arange(2)}, DataError, "not constant"),
    ],
)
def test_what_cannot_be_anatomy_is_refused_with_the_file(arrays, error, words, tmp_path):
    path = archive(tmp_path / "hearts.npz", **arrays)
    with pytest.raises(error, match=rf"hearts\.npz.*{words}"):
        load_anatomy_images(path)


def test_a_missing_file_is_no_input(tmp_path):
    with pytest.raises(InputError, match=r"hearts\.npz"):
        load_anatomy_images(tmp_path / "hearts.npz")


def test_the_real_hearts_are_45_patients():
    anatomy = load_anatomy_images(real_file("sunnybrook_cine_sax.npz"))
    assert anatomy.n_patients == 45
    assert sum(len(images) for images in anatomy.by_patient) == 805
