"""Files that describe sites: what is read, and what is refused in one line."""

import pytest

from mrcli.errors import InputError
from mrcli.simulate.site_file import BUILT_IN, load_sites
from mrcli.simulate.sites import Container, Split

SHARED = """
[protocol.cine]
modality = "Cine"
fov_y_mm = 300.0
fov_x_mm = 680.0
thickness_mm = 8.0
flip_deg = 45.0
tr_ms = 3.1
te_ms = 1.55
"""
SITE = """
[[site]]
center = "Center900"
scanner = "Any.sim"
vendor = "GE"
field_strength_t = 3.0
modelled_on = "nothing"
split = "train"
array = { front = [2, 4], back = [2, 3], loop_radius_mm = 60.0, gap_mm = 28.0 }
body_noise = 0.75
snr = 200.0
off_resonance_hz = 38.0
transmit_spread = 0.12
peak = [1.0, 10.0]
[site.protocols]
cine = { views = ["sax", "4ch"], matrices = [[33, 48]], n_frames = [12], n_slices = [1, 3] }
"""
# what to write in place of what, and what the refusal says
MISTAKES = {
    "no field strength": ("field_strength_t = 3.0\n", "", "'field_strength_t' is missing"),
    "no split": ('split = "train"\n', "", "'split' is missing"),
    "no array": ("array = {", "arrays = {", "'array"),
    "no protocols": ("[site.protocols]\ncine", "cine", "'protocols' is missing"),
    "no shared value": ("tr_ms = 3.1\n", "", "'tr_ms' is missing"),
    "misspelt key": ("snr =", "snrr =", "'snrr' is unknown, did you mean 'snr'"),
    "misspelt key of the array": ("gap_mm", "gap_m", "'gap_m' is unknown, did you mean 'gap_mm'"),
    "misspelt key of a protocol": ("views =", "view =", "'view"),
    "unknown key": ("snr =", "zzz = 1\nsnr =", "'zzz' is unknown"),
    "unknown split": ('"train"', '"both"', "'both'"),
    "unknown protocol": ("cine = { views", "cinema = { views", "protocol 'cinema' is unknown"),
    "unknown view": ('"sax", "4ch"', '"sax", "5ch"', "5ch"),
    "view that is no list": ('views = ["sax", "4ch"]', 'views = "sax"', "view"),
    "no view": ('["sax", "4ch"]', "[]", "view"),
    "unknown container": ("n_frames", 'container = "zip", n_frames', "'zip'"),
    "no coils": ("front = [2, 4], back = [2, 3]", "front = [0, 4], back = [2, 0]", "0 coils"),
    "too many coils": ("front = [2, 4]", "front = [20, 40]", "806 coils"),
    "negative rows": ("front = [2, 4], back = [2, 3]", "front = [-2, -4], back = [2, 3]", "front"),
    "half a coil": ("front = [2, 4]", "front = [2.5, 4]", "front"),
    "rows without columns": ("front = [2, 4]", "front = [2]", "front"),
    "rows that are no list": ("front = [2, 4]", "front = 2", "front is 2"),
    "more virtual coils than coils": ("snr =", "n_virtual = 15\nsnr =", "n_virtual is 15"),
    "no virtual coils": ("snr =", "n_virtual = 0\nsnr =", "n_virtual is 0"),
    "half a virtual coil": ("snr =", "n_virtual = 2.5\nsnr =", "'n_virtual' is 2.5"),
    "no radius": ("loop_radius_mm = 60.0", "loop_radius_mm = 0.0", "radius"),
    "negative snr": ("snr = 200.0", "snr = -1.0", "snr is -1.0"),
    "no snr": ("snr = 200.0", "snr = 0.0", "snr is 0.0"),
    "infinite snr": ("snr = 200.0", "snr = inf", "snr"),
    "snr that is no number": ("snr = 200.0", "snr = nan", "snr"),
    "snr in words": ("snr = 200.0", 'snr = "high"', "snr"),
    "noise of the body alone": ("body_noise = 0.75", "body_noise = 1.0", "body_noise is 1.0"),
    "negative noise of the body": ("body_noise = 0.75", "body_noise = -0.1", "body_noise is -0.1"),
    "negative drift": ("snr =", "drift_mm = -1.0\nsnr =", "drift_mm is -1.0"),
    "drift that is no number": ("snr =", "drift_mm = nan\nsnr =", "drift_mm"),
    "infinite drift": ("snr =", "drift_mm = inf\nsnr =", "drift_mm"),
    "only mistriggered beats": ("snr =", "mistrigger = 1.0\nsnr =", "mistrigger is 1.0"),
    "negative off-resonance": ("hz = 38.0", "hz = -38.0", "off_resonance_hz is -38.0"),
    "transmit field gone": ("spread = 0.12", "spread = 0.5", "transmit_spread is 0.5"),
    "gains that vanish": ("snr =", "gain_spread = 1.0\nsnr =", "gain_spread is 1.0"),
    "text that is none": ('modelled_on = "nothing"', "modelled_on = 3", "modelled_on"),
    "virtual coils in words": ("snr =", 'n_virtual = "ten"\nsnr =', "'n_virtual' is 'ten'"),
    "no field": ("field_strength_t = 3.0", "field_strength_t = 0.0", "field_strength_t is 0.0"),
    "peaks in reverse": ("[1.0, 10.0]", "[10.0, 1.0]", "peak"),
    "peak of zero": ("[1.0, 10.0]", "[0.0, 1.0]", "peak"),
    "peak that is no number": ("[1.0, 10.0]", "[1.0, nan]", "peak"),
    "infinite peak": ("[1.0, 10.0]", "[1.0, inf]", "peak"),
    "one peak": ("[1.0, 10.0]", "[1.0]", "peak"),
    "three peaks": ("[1.0, 10.0]", "[1.0, 2.0, 3.0]", "peak"),
    "half of k-space": ("snr =", "partial_fourier = 0.5\nsnr =", "partial_fourier is 0.5"),
    "no lines": ("snr =", "kspace_filter = { phase_resolution = 0.0 }\nsnr =", "phase_resolution"),
    "roll-off of all": ("snr =", "kspace_filter = { roll_off = 1.5 }\nsnr =", "roll_off"),
    "filter that is no table": ("snr =", "kspace_filter = 1\nsnr =", "kspace_filter is no table"),
    "unknown pattern": ("snr =", 'patterns = ["Uniforn8"]\nsnr =', "Uniforn"),
    "patterns that are no list": ("snr =", 'patterns = "Uniform8"\nsnr =', "pattern"),
    "anatomy that is no name": ("snr =", "anatomy = 3\nsnr =", ""),
    "undersampled readout": ("snr =", "readout_oversampling = 0.5\nsnr =", "readout_oversampling"),
    "tiny matrix": ("[[33, 48]]", "[[8, 48]]", "matrices"),
    "huge matrix": ("[[33, 48]]", "[[33, 48000]]", "matrices"),
    "no matrix": ("[[33, 48]]", "[]", "matrices"),
    "matrix of one size": ("[[33, 48]]", "[[33]]", ""),
    "no frames": ("n_frames = [12]", "n_frames = [0]", "frames"),
    "frames that are no list": ("n_frames = [12]", "n_frames = 12", "n_frames is 12"),
    "half a frame": ("n_frames = [12]", "n_frames = [1.5]", "frames"),
    "no slices": ("n_slices = [1, 3]", "n_slices = []", "slices"),
    "negative thickness": ("thickness_mm = 8.0", "thickness_mm = -8.0", "above 0"),
    "field of view that is no number": ("fov_y_mm = 300.0", "fov_y_mm = nan", "fov_y_mm"),
    "no repetition": ("tr_ms = 3.1", "tr_ms = 0.0", "above 0"),
    "repetition that is no number": ("tr_ms = 3.1", "tr_ms = nan", "tr_ms"),
    "echo before the pulse": ("te_ms = 1.55", "te_ms = -1.0", "te_ms"),
    "flip angle in words": ("flip_deg = 45.0", 'flip_deg = "large"', "flip_deg"),
    "no averages": ("te_ms = 1.55", "te_ms = 1.55\naverages = 0.0", "averages"),
}


def written(folder, text):
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path):
    with pytest.raises(InputError) as failure:
        load_sites(path)
    assert "\n" not in failure.value.message
    assert failure.value.message.startswith(f"{path.name}: ")
    return failure.value.message


def test_a_complete_file_is_read_as_it_stands(tmp_path):
    (site,) = load_sites(written(tmp_path, SHARED + SITE))
    assert (site.name, site.vendor, site.split) == ("Center900/Any.sim", "GE", Split.TRAIN)
    assert (site.array.front, site.array.back, site.array.n_coils) == ((2, 4), (2, 3), 14)
    assert (site.peak, site.drift_mm, site.partial_fourier) == ((1.0, 10.0), 0.0, 1.0)
    (cine,) = site.protocols
    assert (cine.contrast, cine.matrices, cine.n_slices) == ("cine", ((33, 48),), (1, 3))
    assert (cine.tr_ms, cine.container) == (3.1, Container.HDF5)


def test_what_a_site_says_of_a_protocol_comes_before_what_the_file_says(tmp_path):
    own = SITE.replace("n_frames", 'tr_ms = 4.5, container = "classic", n_frames')
    (site,) = load_sites(written(tmp_path, SHARED + own))
    cine = site.protocol("cine")
    assert (cine.tr_ms, cine.container, cine.flip_deg) == (4.5, Container.CLASSIC, 45.0)


def test_patterns_are_kept_and_anatomy_lies_beside_the_file(tmp_path):
    own = SITE.replace("snr =", 'patterns = ["Uniform4", "random8"]\nanatomy = "a.npz"\nsnr =')
    (site,) = load_sites(written(tmp_path, SHARED + own))
    assert site.patterns == ("Uniform4", "random8")
    assert site.anatomy == tmp_path / "a.npz"
    (plain,) = load_sites(written(tmp_path, SHARED + SITE))
    assert plain.anatomy is None
    assert plain.patterns


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused_in_one_line_that_names_file_site_and_reason(tmp_path, mistake):
    wrong, instead, reason = MISTAKES[mistake]
    text = SHARED + SITE
    assert text.count(wrong) == 1
    message = refusal(written(tmp_path, text.replace(wrong, instead)))
    assert "site Center900/Any.sim" in message
    assert reason in message


def test_a_site_without_a_center_is_refused_by_its_key(tmp_path):
    message = refusal(written(tmp_path, SHARED + SITE.replace('center = "Center900"\n', "")))
    assert "'center' is missing" in message


def test_a_site_described_twice_is_refused(tmp_path):
    message = refusal(written(tmp_path, SHARED + SITE + SITE))
    assert "site Center900/Any.sim is described twice" in message


@pytest.mark.parametrize("text", ["", SHARED, "site = 3", "site = []"])
def test_a_file_without_sites_is_refused(tmp_path, text):
    assert "holds no site" in refusal(written(tmp_path, text))


def test_a_site_that_is_no_table_is_refused(tmp_path):
    assert "site is no table" in refusal(written(tmp_path, "site = [3]"))


def test_a_file_that_is_no_toml_is_refused_with_the_place(tmp_path):
    message = refusal(written(tmp_path, SHARED + "this is = = wrong"))
    assert "no TOML" in message
    assert "line" in message


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "own.toml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    assert "no TOML" in refusal(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "cannot be read: no such file" in refusal(tmp_path / "absent.toml")
    assert "cannot be read" in refusal(tmp_path)


def test_the_sites_of_the_program_are_the_default():
    assert load_sites() == load_sites(BUILT_IN)
