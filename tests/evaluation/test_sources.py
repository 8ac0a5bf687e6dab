"""Reading anyone's log: every row is used or accounted for."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from tests.support.made_up_log import made_up

from lorabank import InvalidInputError
from lorabank.evaluation.sources import Dataset, load_dataset
from lorabank.evaluation.sources.interactions import NOT_TEXT

ITEMS = "item_id,title,genre\na,Heat,crime\nb,Alien,horror\nc,Up,\n"


def load(
    folder: Path, log: str | bytes, items: str | bytes = ITEMS, **options: float | int
) -> Dataset:
    path = folder / "log.csv"
    path.write_bytes(log.encode() if isinstance(log, str) else log)
    (folder / "items.csv").write_bytes(items.encode() if isinstance(items, str) else items)
    return load_dataset(str(path), str(folder / "items.csv"), **options)  # type: ignore[arg-type]


def rows_of(data: Dataset) -> list[tuple[int, int, float]]:
    return list(zip(data.user.tolist(), data.item.tolist(), data.time.tolist(), strict=True))


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    data = load(tmp_path, "extra,timestamp,item_id,user_id\nx,5,b,u\ny,4,a,v\nz,3,c,u\n")
    assert rows_of(data) == [(0, 1, 5.0), (1, 0, 4.0), (0, 2, 3.0)]
    assert data.clock
    assert data.liked.all()
    assert data.user.dtype == data.item.dtype == np.int32
    assert data.reading.rows == 3
    assert data.reading.skipped == {}


def test_positions_are_no_clock(tmp_path: Path) -> None:
    assert not load(tmp_path, "user_id,item_id,pos\nu,a,0\nu,b,1\n").clock


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2020-01-01", 1577836800.0),
        ("2020-01-01 00:00:10", 1577836810.0),
        ("2020-01-01T00:00:10Z", 1577836810.0),
        ("2020-01-01T02:00:10+02:00", 1577836810.0),
        ("1e3", 1000.0),
        (" 12.5 ", 12.5),
    ],
)
def test_times_are_numbers_or_dates(tmp_path: Path, text: str, seconds: float) -> None:
    data = load(tmp_path, f"user_id,item_id,timestamp\nu,a,{text}\nu,b,7\n")
    assert data.time.tolist() == [seconds, 7.0]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("u,a", "another number of columns than the header"),
        ("u,a,1,3,9", "another number of columns than the header"),
        (",a,1,3", "no user_id"),
        ("u,,1,3", "no item_id"),
        ("u,zzz,1,3", "item_id not in the catalogue"),
        ("u,a,soon,3", "timestamp is not a number or date"),
        ("u,a,2020-02-31,3", "timestamp is not a number or date"),
        ("u,a,nan,3", "timestamp is not a number or date"),
        ("u,a,1,good", "rating is not a number"),
        ("u,a,1,", "rating is not a number"),
    ],
)
def test_malformed_rows_are_counted_by_reason(tmp_path: Path, row: str, reason: str) -> None:
    log = f"user_id,item_id,timestamp,rating\nu,a,1,3\n{row}\n\nu,b,2,1\n"
    data = load(tmp_path, log, like=3.0)
    assert data.reading.skipped == {reason: 1}
    assert data.reading.rows == 3
    assert data.liked.tolist() == [True, False]


def test_bytes_that_are_no_text_are_just_another_id(tmp_path: Path) -> None:
    data = load(tmp_path, b"user_id,item_id,pos\n\xff\xfe,a,1\nu,\xff,2\nu,b,\xff\nu,b,3\n")
    assert data.reading.skipped == {NOT_TEXT: 1, "pos is not a number": 1}
    assert len(data.user) == 2


def test_another_encoding_is_said_and_both_files_may_have_it(tmp_path: Path) -> None:
    log = "user_id,item_id,pos\nu,caf\xe9,1\n".encode("latin-1")
    with pytest.raises(InvalidInputError, match=r"none of 1 rows.*1 item_id not .* not UTF-8"):
        load(tmp_path, log, items="item_id,title\ncaf\xe9,x\n")
    latin = "item_id,title\ncaf\xe9,na\xefve\ntea,tea\n".encode("latin-1")
    data = load(tmp_path, log, items=latin)
    assert len(data.user) == 1
    assert data.reading.items_skipped == {"text that is not UTF-8 (kept, with what can be read)": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_header_of_another_encoding_is_an_error(tmp_path: Path, encoding: str) -> None:
    log = "user_id,item_id,pos,pr\xe9nom\nu,a,1,x\n".encode(encoding)
    with pytest.raises(InvalidInputError, match="expected a file in UTF-8"):
        load(tmp_path, log)


def test_an_unclosed_quote_costs_rows_that_are_counted(tmp_path: Path) -> None:
    log = "user_id,item_id,pos\nu,a,1\n" + '"u,a,2\n' + "u,b,3\n" * 5
    data = load(tmp_path, log)
    assert data.reading.rows == 7
    assert len(data.user) + sum(data.reading.skipped.values()) == 7
    assert data.reading.skipped["inside an unclosed quote"] > 0


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_delimiters(tmp_path: Path, mark: str) -> None:
    log = "user_id,item_id,pos\nu,a,1\nu,b,2\n".replace(",", mark)
    assert len(load(tmp_path, log).user) == 2


def test_compressed_with_a_byte_order_mark_and_windows_breaks(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbfuser_id,item_id,pos\r\nu,a,1\r\n\r\nu,b,2"))
    (tmp_path / "items.csv").write_text(ITEMS)
    data = load_dataset(str(path), str(tmp_path / "items.csv"))
    assert (len(data.user), data.reading.rows, data.reading.skipped) == (2, 2, {})


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("user,item_id,pos\nu,a,1\n", ["'user'", "'user_id'"]),
        ("user_id,item_id,when\nu,a,1\n", ["'when'", "'timestamp' or 'pos'"]),
        ("user_id,item_id,pos,pos\nu,a,1,1\n", ["'pos'", "once"]),
        ("", ["no header"]),
        ("user_id,item_id,pos\n", ["no rows"]),
        ("user_id,item_id,pos\nu,zzz,1\n", ["not in the catalogue"]),
    ],
)
def test_what_can_not_be_used_is_named(tmp_path: Path, log: str, words: list[str]) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load(tmp_path, log)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_missing_rating_matters_only_where_it_is_asked_for(tmp_path: Path) -> None:
    log = "user_id,item_id,pos\nu,a,1\nu,b,2\n"
    assert load(tmp_path, log).liked.all()
    with pytest.raises(InvalidInputError, match="'rating'"):
        load(tmp_path, log, like=4.0)
    assert not load(tmp_path, log).reading.rated
    assert load(tmp_path, "user_id,item_id,pos,rating\nu,a,1,3\n").reading.rated


def test_the_catalogue_is_counted_too(tmp_path: Path) -> None:
    items = ITEMS + "a,again,x\n,nameless,x\nd\n" + '"e","two\nlines","x"\n'
    data = load(tmp_path, "user_id,item_id,pos\nu,a,1\nu,e,2\n", items)
    assert data.reading.items == 4
    assert data.reading.items_skipped == {
        "another number of columns than the header": 1,
        "item_id occurs again": 1,
        "no item_id": 1,
    }
    np.testing.assert_allclose(np.linalg.norm(data.vectors, axis=1), 1, rtol=1e-5)


def test_ready_vectors_from_npz_and_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "log.csv").write_text("user_id,item_id,pos\nu,7,1\nu,8,2\n")
    vectors = np.array([[3.0, 4.0], [0.0, 2.0]])
    np.savez(tmp_path / "v.npz", item_id=np.array([7, 8]), vectors=vectors)
    table = pa.table({"item_id": [7, 8], "vector": vectors.tolist()})
    pq.write_table(table, tmp_path / "v.parquet")
    for name in ("v.npz", "v.parquet"):
        data = load_dataset(str(tmp_path / "log.csv"), str(tmp_path / name))
        np.testing.assert_allclose(data.vectors, [[0.6, 0.8], [0.0, 1.0]], rtol=1e-6)
        assert data.item.tolist() == [0, 1]


@pytest.mark.parametrize(
    "arrays",
    [
        {"vectors": np.ones((2, 3))},
        {"item_id": np.arange(2), "vectors": np.ones((3, 3))},
        {"item_id": np.arange(2), "vectors": np.full((2, 3), np.nan)},
        {"item_id": np.array(["a", None], object), "vectors": np.ones((2, 3))},
    ],
)
def test_vectors_that_can_not_be_used_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    (tmp_path / "log.csv").write_text("user_id,item_id,pos\nu,0,1\n")
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(InvalidInputError):
        load_dataset(str(tmp_path / "log.csv"), str(tmp_path / "v.npz"))


def test_a_large_log_keeps_whole_users_whatever_the_order(tmp_path: Path) -> None:
    log, items = made_up(users=200).write(tmp_path)
    whole = load_dataset(str(log), str(items))
    some = load_dataset(str(log), str(items), most_rows=800, seed=3)
    lines = log.read_text().splitlines()
    log.write_text("\n".join([lines[0], *sorted(lines[1:])]) + "\n")
    again = load_dataset(str(log), str(items), most_rows=800, seed=3)
    assert 100 < len(some.user) <= 800
    assert some.reading.sampled in (0.25, 0.125)
    assert some.reading.rows == len(whole.user)
    counts = np.bincount(whole.user).tolist()
    assert all(count in counts for count in np.bincount(some.user).tolist())
    assert sorted(np.bincount(some.user)) == sorted(np.bincount(again.user))


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    log, items = made_up(users=30).write(tmp_path)
    told: list[tuple[str, int, int]] = []
    load_dataset(str(log), str(items), tell=lambda *now: told.append(now))
    assert told[0][1] == 0
    assert told[-1][1] == told[-1][2] == log.stat().st_size
