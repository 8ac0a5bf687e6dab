"""Logs of shapes that a user brings: what is made of them, or said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.made_up_log import SMALL, made_up

from lorabank.errors import InvalidInputError
from lorabank.evaluation.running import run
from lorabank.evaluation.sources.columns import in_seconds
from lorabank.evaluation.sources.load import load_dataset
from lorabank.evaluation.sources.repeats import without_repeats


def test_of_what_a_user_had_more_than_once_the_first_time_is_kept(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "user_id,item_id,pos\nu,a,3\nu,a,1\nu,b,2\nv,a,2\nv,a,2\nv,b,1\n"
    )
    np.savez(tmp_path / "v.npz", item_id=np.array(["a", "b"]), vectors=np.eye(2))
    data = load_dataset(str(tmp_path / "log.csv"), str(tmp_path / "v.npz"))
    first = without_repeats(data)
    assert list(zip(first.user, first.item, first.time, strict=True)) == [
        (0, 0, 1.0),
        (0, 1, 2.0),
        (1, 0, 2.0),
        (1, 1, 1.0),
    ]
    assert first.reading.repeated == 2
    assert without_repeats(first) is first


@pytest.mark.parametrize("factor", [1.0, 1e3, 1e6, 1e9])
def test_times_since_1970_are_seconds_whatever_their_unit(factor: float) -> None:
    seconds = np.array([9.5e8, 1.6e9, 1.7e9])
    np.testing.assert_allclose(in_seconds(seconds * factor), seconds)


@pytest.mark.parametrize("times", [[0.0, 5.0, 1e9], [], [20240101.0, 20240102.0]])
def test_small_times_stay_as_they_are(times: list[float]) -> None:
    assert in_seconds(np.array(times)).tolist() == times


def test_vectors_that_are_not_numbers_are_zero_and_counted(tmp_path: Path) -> None:
    vectors = np.array([[3.0, 4.0], [np.nan, 1.0], [0.0, 0.0], [np.inf, 1.0]], np.float16)
    np.savez(tmp_path / "v.npz", item_id=np.array([1.0, 2.0, 3.0, 4.0]), vectors=vectors)
    (tmp_path / "log.csv").write_text("user_id,item_id,pos\nu,1,1\nu,4,2\n")
    data = load_dataset(str(tmp_path / "log.csv"), str(tmp_path / "v.npz"))
    np.testing.assert_allclose(data.vectors, [[0.6, 0.8], [0, 0], [0, 0], [0, 0]], rtol=1e-6)
    assert data.reading.items_skipped == {"vector of zeros, or not finite (kept, as zeros)": 3}
    assert data.item.tolist() == [0, 3], "1.0 in the catalogue is 1 in the log"


def test_with_nothing_to_predict_the_error_says_so() -> None:
    log = made_up(users=200).dataset()
    first = np.unique(log.user, return_index=True)[1]
    alone = replace(
        log,
        user=log.user[first],
        item=log.item[first],
        liked=log.liked[first],
        time=log.time[first],
    )
    with pytest.raises(InvalidInputError, match="two likes or more: got 0"):
        run(alone, SMALL, 0, lambda *_: None)
