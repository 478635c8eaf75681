"""The XML header: tolerant of writers, strict with attackers."""

import pytest

from containers import mrd_xml
from mrcli.errors import DataError, MissingField
from mrcli.io.mrd_header import n_readout_kept, parse_header, voxel_size_mm


def test_name_spaces_and_capitals_make_no_difference():
    xml = mrd_xml(6, 8, trajectory="Cartesian")
    bare = xml.replace(' xmlns="http://www.ismrm.org/ISMRMRD"', "")
    assert parse_header(xml, "a") == parse_header(bare, "a")
    assert parse_header(xml, "a").encodings[0].trajectory == "cartesian"


@pytest.mark.parametrize(
    "xml",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        '<?xml version="1.0"?><! DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        "<!doctype a><a/>",
    ],
)
def test_document_types_and_entities_are_refused(xml):
    with pytest.raises(DataError, match="declares a document type"):
        parse_header(xml, "scan.h5: field 'xml'")


@pytest.mark.parametrize("xml", ["", "no xml", "<a>", "<a></b>", "<a>&unknown;</a>"])
def test_what_is_no_xml_is_refused(xml):
    with pytest.raises(DataError, match="is no XML"):
        parse_header(xml, "scan.h5: field 'xml'")


def test_missing_parts_are_named():
    whole = mrd_xml(6, 8)
    for lost, words in (
        ("<encoding>", "no encoding"),
        ("<trajectory>", "no trajectory"),
        ("<encodedSpace>", "no encodedSpace/matrixSize"),
    ):
        xml = whole.replace(lost, "<other>").replace(lost.replace("<", "</"), "</other>")
        with pytest.raises(MissingField, match=words):
            parse_header(xml, "a")


@pytest.mark.parametrize("size", ["0", "-4", "1e9", "99999", "4.5", "٣"])
def test_impossible_matrix_sizes_are_refused(size):
    with pytest.raises(DataError):
        parse_header(mrd_xml(6, size), "a")


def encoding(fov, recon_fov):
    return parse_header(mrd_xml(6, 16, fov=fov, recon_fov=recon_fov), "a").encodings[0]


@pytest.mark.parametrize(
    ("encoded_mm", "recon_mm", "n_kept"),
    [(560, 280, 8), (280, 280, 16), (280, 300, 16), (0, 280, 16), (560, 0, 16), ("nan", 280, 16)],
)
def test_fields_of_view_decide_how_much_of_the_readout_is_kept(encoded_mm, recon_mm, n_kept):
    assert n_readout_kept(encoding((encoded_mm, 1, 1), (recon_mm, 1, 1)), 16) == n_kept


def test_voxel_size_is_the_field_of_view_over_its_points():
    assert voxel_size_mm(encoding((32, 18, 7), (16, 18, 5)), 6, 16) == (2, 3, 5)
    assert voxel_size_mm(encoding((0, 18, 7), (16, 18, 5)), 6, 16) is None
