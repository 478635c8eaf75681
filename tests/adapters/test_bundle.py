"""A bundle comes back as it was written, and any other bytes are refused with code 7."""

import json
import random
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load, save

from bundles import adapter_of, backbone_of, card_of
from mrcli.adapters.adapter import AdapterSpec
from mrcli.adapters.bundle import (
    MAX_WEIGHT_BYTES,
    bundle_bytes,
    channels_of,
    parse_bundle,
    stated_backbone,
)
from mrcli.adapters.card import AdapterCard
from mrcli.adapters.forms import FORMS
from mrcli.adapters.records import MAX_RECORD_BYTES, sealed, sha256_of_bytes
from mrcli.errors import ModelError
from mrcli.nn.backbone import BackboneSpec
from mrcli.nn.slots import slots

SHA = "0123456789abcdef" * 4
N_MUTATIONS = 10_000
BACKBONE = backbone_of()
ONE_CASCADE = backbone_of(BackboneSpec(1, 8, 8, 1, 1))
CARD, WEIGHTS = bundle_bytes(adapter_of(BACKBONE, "scale-shift", n_cascades=1), card_of(SHA))


def parse(card=CARD, weights=WEIGHTS, backbone=BACKBONE, sha256=SHA):
    return parse_bundle(card, weights, backbone, sha256)


@contextmanager
def refused(*words):
    with pytest.raises(ModelError) as caught:
        yield
    assert caught.value.exit_code == 7
    assert "\n" not in caught.value.message
    for word in words:
        assert word in caught.value.message


def changed(**changes):
    """A card that states something else and carries the right hash of it."""
    document = {key: one for key, one in json.loads(CARD).items() if key != "card_sha256"}
    return sealed({key: one for key, one in (document | changes).items() if one is not ...})


def with_weights(weights, **changes):
    return changed(weights_sha256=sha256_of_bytes(weights), **changes), weights


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_cascades", [None, 1])
def test_what_is_written_is_read(form, n_cascades):
    adapter = adapter_of(BACKBONE, form, 2, n_cascades)
    card = card_of(SHA, "site", "Center001/UIH_30T_umr780", acceptance={"gain_db": 0.5})
    found = parse(*bundle_bytes(adapter, card))
    assert (found.kind, found.name, found.card) == ("site", card.name, card)
    assert found.adapter.spec == AdapterSpec(form, 2, n_cascades)
    assert found.adapter.names == adapter.names
    pairs = zip(found.adapter.parameters(), adapter.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_same_adapter_gives_the_same_bytes_and_another_another_hash():
    again = bundle_bytes(adapter_of(BACKBONE, "scale-shift", n_cascades=1), card_of(SHA))
    other = bundle_bytes(adapter_of(BACKBONE, "scale-shift", n_cascades=1, seed=9), card_of(SHA))
    assert again == (CARD, WEIGHTS)
    assert parse(*other).sha256 != parse().sha256 == json.loads(CARD)["card_sha256"]


def test_what_is_read_is_frozen_and_draws_nothing_by_chance():
    state = torch.random.get_rng_state()
    adapter = parse().adapter
    assert torch.equal(state, torch.random.get_rng_state())
    assert not adapter.training
    assert not any(one.requires_grad or one.is_meta for one in adapter.parameters())


def test_a_bundle_names_the_channels_of_its_slots():
    adapter = adapter_of(BACKBONE, "bottleneck", 20)  # a rank above the number of channels
    assert channels_of(adapter) == {n: one.n_channels for n, one in slots(BACKBONE).items()}


def mutated(content, chance):
    """The content with one seeded change of any kind; it may be none at all."""
    kind = chance.choice(["flip", "byte", "cut", "insert", "delete", "swap", "repeat", "blank"])
    a, b = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    at = min(a, len(content) - 1)
    changes = {
        "flip": lambda: content[:at] + bytes([content[at] ^ 1 << chance.randrange(8)]),
        "byte": lambda: content[:at] + chance.randbytes(1),
        "cut": lambda: content[:a],
        "insert": lambda: content[:a] + chance.randbytes(chance.randint(1, 9)) + content[a:],
        "delete": lambda: content[:a] + content[b:],
        "swap": lambda: content[b:] + content[a:b] + content[:a],
        "repeat": lambda: content[:b] + content[a:],
        "blank": lambda: content[:a] + chance.choice([b" ", b"\n", b"\t", b"\0"]) + content[a:],
    }
    head = changes[kind]()
    return head + content[at + 1 :] if kind in {"flip", "byte"} else head


def test_ten_thousand_mutations_are_refused():
    chance = random.Random(0)
    before = {name: one.clone() for name, one in BACKBONE.state_dict().items()}
    n_refused = 0
    while n_refused < N_MUTATIONS:
        card = mutated(CARD, chance) if chance.random() < 0.6 else CARD
        weights = mutated(WEIGHTS, chance) if card == CARD else WEIGHTS
        if (card, weights) == (CARD, WEIGHTS):
            continue
        with pytest.raises(ModelError):
            parse(card, weights)
        n_refused += 1
    assert all(torch.equal(one, before[name]) for name, one in BACKBONE.state_dict().items())


def test_every_single_byte_of_both_files_counts():
    for at in range(len(CARD)):
        with pytest.raises(ModelError):
            parse(card=CARD[:at] + bytes([CARD[at] ^ 1]) + CARD[at + 1 :])
    for at in range(len(WEIGHTS)):
        with pytest.raises(ModelError):
            parse(weights=WEIGHTS[:at] + bytes([WEIGHTS[at] ^ 1]) + WEIGHTS[at + 1 :])


@pytest.mark.parametrize(
    "other",
    [
        json.dumps(json.loads(CARD)).encode(),
        json.dumps(json.loads(CARD), sort_keys=True, indent=2).encode(),
        CARD + b"\n",
        b" " + CARD,
        CARD.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + CARD,
        CARD.replace(b'"steps": 10', b'"steps": 1e1'),
        CARD.replace(b'"schema_version": 1', b'"schema_version": 1,\n "schema_version": 1'),
        CARD.replace(b'"steps": 10', b'"steps": NaN'),
        CARD.replace(b'"steps": 10', b'"steps": 1e999'),
        CARD.replace(b'"steps": 10', b'"steps": ' + 5000 * b"1"),
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"[]",
        b"null",
        b"",
        b"\xff",
    ],
)
def test_the_same_facts_in_other_bytes_are_refused(other):
    assert other != CARD
    with refused("adapter.json"):
        parse(card=other)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"schema_version": 2}, "schema_version is 2, needed 1"),
        ({"schema_version": True}, "schema_version"),
        ({"schema_version": 1.0}, "schema_version"),
        ({"kind": "hospital"}, "kind"),
        ({"kind": ["protocol"]}, "kind"),
        ({"name": "a/b"}, "cannot be called"),
        ({"name": ".."}, "cannot be called"),
        ({"name": "universal"}, "cannot be called"),
        ({"name": 7}, "name"),
        ({"name": "a\x1b[31m"}, "name"),
        ({"backbone_sha256": "f" * 63}, "backbone_sha256"),
        ({"backbone_sha256": "f" * 64}, "is for backbone ffffffffffff, this one is 0123456789ab"),
        ({"weights_sha256": None}, "weights_sha256"),
        ({"spec": []}, "spec"),
        ({"spec": {"form": "scale-shift", "rank": 1}}, "'n_cascades' is missing"),
        ({"spec": {"form": "pickle", "rank": 1, "n_cascades": 1}}, "form"),
        ({"spec": {"form": "scale-shift", "rank": 10**9, "n_cascades": 1}}, "rank"),
        ({"spec": {"form": "scale-shift", "rank": True, "n_cascades": 1}}, "rank"),
        ({"spec": {"form": "scale-shift", "rank": 1, "n_cascades": 0}}, "n_cascades"),
        ({"slots": {}}, "slots"),
        ({"training": [1]}, "training"),
        ({"training": {"note": "a\nb"}}, "training"),
        ({"training": {"\ud800": 1}}, "training"),
        ({"training": {"a": [[[[[[[[[1]]]]]]]]]}}, "training"),
        ({"acceptance": 1}, "acceptance"),
        ({"acceptance": ...}, "'acceptance' is missing"),
        ({"data_fingerprint": ...}, "'data_fingerprint' is missing"),
        ({"patient": 1}, "'patient' is unknown"),
    ],
)
def test_a_card_with_the_right_hash_and_wrong_facts_is_refused(changes, word):
    with refused("adapter.json" if "called" not in word else "", word):
        parse(card=changed(**changes))


def test_the_hash_of_the_card_alone_is_accepted():
    assert parse(card=changed()).name == "Cine"


NAMES = tuple(load(WEIGHTS))


@pytest.mark.parametrize(
    ("alter", "word"),
    [
        (lambda t: t.pop(NAMES[0]), "is missing or too many"),
        (lambda t: t.update(more=torch.zeros(1)), "is missing or too many"),
        (lambda t: t.update({NAMES[0]: torch.zeros(7)}), "needed F32 [8]"),
        (lambda t: t.update({NAMES[0]: torch.zeros(8, 1)}), "needed F32 [8]"),
        (lambda t: t.update({NAMES[0]: torch.zeros(8, dtype=torch.float16)}), "is F16 [8]"),
        (lambda t: t.update({NAMES[0]: torch.zeros(8, dtype=torch.int32)}), "is I32 [8]"),
        (lambda t: t.update({NAMES[0]: torch.full((8,), torch.nan)}), "not finite"),
        (lambda t: t.update({NAMES[0]: torch.full((8,), -torch.inf)}), "not finite"),
    ],
)
def test_weights_with_the_right_hash_and_wrong_tensors_are_refused(alter, word):
    tensors = load(WEIGHTS)
    alter(tensors)
    with refused("adapter.safetensors", word):
        parse(*with_weights(save(tensors)))


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\xff" * 64, b"\x80\x04N.", WEIGHTS[:-4]])
def test_what_is_no_safetensors_is_refused_even_with_the_right_hash(content):
    with refused("adapter.safetensors: no safetensors file"):
        parse(*with_weights(content))


def test_sizes_have_limits():
    with refused(f"at most {MAX_RECORD_BYTES}"):
        parse(card=b" " * (MAX_RECORD_BYTES + 1))
    with refused(f"at most {MAX_WEIGHT_BYTES}"):
        parse(*with_weights(b" " * (MAX_WEIGHT_BYTES + 1)))


def test_a_backbone_of_another_shape_is_refused_even_with_the_right_hash():
    card, weights = bundle_bytes(adapter_of(BACKBONE), card_of(SHA))
    with refused("slots"):
        parse(card, weights, backbone=ONE_CASCADE)
    with refused("slots"):
        parse(card, weights, backbone=backbone_of(BackboneSpec(2, 16, 8, 1, 1)))


def test_a_bundle_says_for_which_backbone_it_is():
    assert stated_backbone(CARD) == SHA


@pytest.mark.parametrize(
    "others",
    [
        {"training": {"loss": float("nan")}},
        {"training": {"loss": {1, 2}}},
        {"training": {"note": "a\nb"}},
        {"acceptance": {"note": "x" * MAX_RECORD_BYTES}},
        {"sha256": "abc"},
        {"kind": "hospital"},
        {"name": "a\\b"},
    ],
)
def test_what_could_not_be_read_again_is_not_written(others):
    with refused():
        bundle_bytes(adapter_of(BACKBONE), card_of(**({"sha256": SHA} | others)))


def test_an_adapter_that_could_not_be_read_again_is_not_written():
    broken = adapter_of(BACKBONE)
    with torch.no_grad():
        next(broken.parameters())[:] = torch.nan
    with refused("needed finite float32"):
        bundle_bytes(broken, card_of(SHA))
    with refused("needed finite float32"):
        bundle_bytes(adapter_of(BACKBONE).double(), card_of(SHA))
    with refused("rank is 65"):
        bundle_bytes(adapter_of(BACKBONE, rank=65), card_of(SHA))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("protocol", "Cine"),
        ("site", "Center001/UIH_30T_umr780"),
        ("site", "Charité Berlin/Vida 3T"),
        ("universal", "universal"),
    ],
)
def test_names_by_kind(kind, name):
    assert AdapterCard(kind, name, SHA, {}, {}).name == name


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("site", "Center001"),
        ("site", "a/b/c"),
        ("site", "a/.."),
        ("site", "/a"),
        ("protocol", "a/b"),
        ("protocol", ""),
        ("protocol", " a"),
        ("protocol", "a:b"),
        ("protocol", "x" * 101),
        ("universal", "Cine"),
        ("protocol", "universal"),
        ("other", "a"),
    ],
)
def test_odd_names_are_refused(kind, name):
    with refused("cannot be called"):
        AdapterCard(kind, name, SHA, {}, {})
