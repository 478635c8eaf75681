"""What the picture of a scan shows, before it is drawn."""

import pytest
import torch
from torch.testing import assert_close

from mrcli.errors import OutputError
from mrcli.io.preview import preview_of, write_preview
from mrcli.physics.encoding import fft2c
from mrcli.physics.patterns import shifted_uniform_lines


def image(n_frames=1):
    random = torch.Generator().manual_seed(0)
    return torch.randn(n_frames, 2, 9, 12, dtype=torch.complex128, generator=random)


def test_frames_that_sample_different_lines_are_put_together():
    still = image().expand(3, 2, 9, 12)
    mask = shifted_uniform_lines(3, 9, 3, 1)
    preview = preview_of(fft2c(still) * mask, mask)
    assert_close(preview.image, still[0].abs().square().sum(0).sqrt())
    share = mask[:, 0].double().mean(0).expand(9, 12)
    assert_close(preview.sampled, share)


def test_a_place_that_no_frame_sampled_is_black():
    mask = shifted_uniform_lines(1, 9, 3, 1)
    preview = preview_of(fft2c(image()) * mask, mask)
    assert preview.kspace_decades[1].eq(-5).all()
    assert preview.kspace_decades.max() == 0
    assert preview.sampled[1].eq(0).all()


def test_a_picture_is_replaced_and_one_that_cannot_be_written_is_an_error(tmp_path):
    preview = preview_of(fft2c(image()), torch.ones(1, 1, 9, 1, dtype=torch.bool))
    for _ in range(2):
        write_preview(tmp_path / "a" / "scan.png", preview, "scan", (1.0, 2.0, 8.0))
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["scan.png"]
    with pytest.raises(OutputError):
        write_preview(tmp_path / "a" / "scan.png" / "below.png", preview, "scan")
