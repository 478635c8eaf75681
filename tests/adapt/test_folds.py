"""The division of patients: nobody judges what learned from them."""

import pytest

from mrcli.adapt.folds import divide, whole

NAMES = [f"patient {n}" for n in range(1, 14)]


@pytest.mark.parametrize("n", range(2, 14))
@pytest.mark.parametrize("holdout", [None, 0.2, 0.5, 0.9])
def test_no_patient_both_learns_and_judges(n, holdout):
    for fold in divide(NAMES[:n], holdout, 0):
        assert not set(fold.judges) & (set(fold.training) | set(fold.validation))
        assert set(fold.judges) | set(fold.training) | set(fold.validation) == set(NAMES[:n])
        assert fold.training
        assert fold.judges


@pytest.mark.parametrize("n", range(2, 14))
def test_in_turn_everybody_judges_once(n):
    folds = divide(NAMES[:n], None, 0)
    assert sorted(one for fold in folds for one in fold.judges) == sorted(NAMES[:n])
    assert len(folds) == min(n, 5)


@pytest.mark.parametrize(("n", "n_judges"), [(10, 4), (3, 2), (2, 1), (12, 5)])
def test_a_share_put_aside_is_rounded_up_and_leaves_somebody_to_learn(n, n_judges):
    (fold,) = divide(NAMES[:n], 0.4, 0)
    assert len(fold.judges) == n_judges


def test_of_three_who_learn_one_tells_when_to_stop():
    fold = divide(NAMES[:5], None, 0)[0]
    assert len(fold.training) == 3
    assert len(fold.validation) == 1
    assert not set(fold.training) & set(fold.validation)


def test_the_seed_decides_and_the_order_of_names_does_not():
    assert divide(NAMES, None, 1) == divide(NAMES[::-1], None, 1)
    assert divide(NAMES, None, 1) != divide(NAMES, None, 2)


def test_one_patient_is_no_division():
    assert divide(NAMES[:1], None, 0) == ()
    assert whole(NAMES[:2]).judges == ()
