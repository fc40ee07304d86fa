"""The quick path agrees with the careful one, whatever the lines; and one bad line harms no other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.line_protocol import LineError, Point, decode
from collector.catalogue import Catalogue, Series, series_of
from collector.columns import Decoder

KEYS = st.sampled_from(["icmp_echo,site=1,target=a", "icmp_echo,site=1,target=b", "http,site=1,node=n", r"a\ b,site=1"])
NUMBERS = st.sampled_from(
    ["0", "1.5", "-3e-05", "1e5", ".5", "7.", "007", "1e999", "5i", "t", "abc", "", '"x y"', "[1]", "NaN"]
)
NAMES = st.sampled_from(["rtt", "loss_ratio", "x_rtt", "disk_used_ratio[/var]", "rtt"])
STAMPS = st.sampled_from(["1", "1700000000000000000", "99999999999999999999", "soon", "", "-5", "1.5"])
LINES = st.builds(
    lambda key, fields, stamp: f"{key} {','.join(f'{n}={v}' for n, v in fields)} {stamp}".rstrip(),
    KEYS, st.lists(st.tuples(NAMES, NUMBERS), min_size=1, max_size=3), STAMPS,
)  # fmt: skip


def slowly(body: bytes, precision: str = "ns") -> tuple[list[tuple[Series, str, int, float]], list[tuple[int, str]]]:
    """Say what a body holds by the codec alone."""
    rows, errors = [], []
    for item in decode(body, precision):
        if isinstance(item, LineError):
            errors.append((item.line, item.reason))
            continue
        at = 42 if item.timestamp is None else item.timestamp
        series = series_of(item.measurement, item.tags, None)
        rows += [(series, k, at, float(v)) for k, v in item.fields.items() if not isinstance(v, str)]
    return sorted(rows), errors


def read(decoder: Decoder, catalogue: Catalogue, body: bytes, precision: str = "ns") -> object:
    columns, errors = decoder.decode(body, arrived_at=42, precision=precision)
    rows = [
        (catalogue.signals[s].series, catalogue.signals[s].metric, at, value)
        for s, at, value in zip(
            columns.signals.tolist(), columns.measured_at.tolist(), columns.values.tolist(), strict=True
        )
    ]
    return sorted(rows), [(error.line, error.reason) for error in errors]


@given(st.lists(st.lists(LINES, max_size=6), min_size=1, max_size=5), st.sampled_from(["ns", "us", "s"]))
def test_whatever_was_read_before_a_body_means_what_the_codec_says(bodies: list[list[str]], precision: str) -> None:
    catalogue = Catalogue()
    decoder = Decoder(catalogue)
    for lines in [*bodies, *bodies]:
        body = "\n".join(lines).encode()
        assert read(decoder, catalogue, body, precision) == slowly(body, precision)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_never_raise(body: bytes) -> None:
    catalogue = Catalogue()
    decoder = Decoder(catalogue)
    decoder.decode(b"m,site=1 f=1 5", arrived_at=1)
    columns, errors = decoder.decode(b"m,site=1 f=1 5\n" + body, arrived_at=1)
    assert columns.points >= 1 or errors


def test_a_series_that_stops_answering_changes_its_fields_and_is_still_read() -> None:
    catalogue = Catalogue()
    decoder = Decoder(catalogue)
    answered, silent = b"icmp_echo,site=1 loss_ratio=0.0,rtt=0.1 %d", b"icmp_echo,site=1 loss_ratio=1.0 %d"
    for at in range(1, 40):
        columns, errors = decoder.decode((silent if at % 3 else answered) % at, arrived_at=0)
        assert not errors
        assert columns.measured_at.tolist() == [at] * (1 if at % 3 else 2)
    assert len(catalogue.signals) == 2


def test_text_is_kept_for_people_and_is_no_number() -> None:
    decoder = Decoder(Catalogue())
    columns, _ = decoder.decode(b'tcp,site=1 success=0.0,reason="connection refused" 7', arrived_at=0)
    assert columns.texts == [(0, 7, "reason", "connection refused")]
    assert columns.values.tolist() == [0.0]


def test_a_site_s_token_writes_for_no_other_site_and_need_not_say_its_own() -> None:
    catalogue = Catalogue()
    decoder = Decoder(catalogue)
    body = b"m,site=1 f=1 5\nm f=2 5\nm,site=2 f=3 5"
    for _ in range(2):  # careful the first time, quick the second
        columns, errors = decoder.decode(body, arrived_at=0, site="1")
        assert [str(e) for e in errors] == ["line 3: the site tag says '2', but the token is for '1'"]
        assert sorted(columns.values.tolist()) == [1.0, 2.0]
    _, errors = decoder.decode(body, arrived_at=0, site="2")
    assert [error.line for error in errors] == [1]


def test_a_site_cannot_name_signals_without_end() -> None:
    decoder = Decoder(Catalogue(max_signals_per_site=3))
    body = "\n".join(f"m,site=1,target=t{i} f=1 5" for i in range(5)).encode()
    columns, errors = decoder.decode(body, arrived_at=0)
    assert len(columns.values) == 3
    assert [e.reason for e in errors] == ["site '1' already has 3 signals, the most allowed"] * 2


def test_other_people_s_tags_keep_their_series_apart() -> None:
    series = series_of("disk", {"host": "pc1", "path": "/var", "device": "sda1"}, "31120")
    assert series == Series("31120", "pc1", "disk", "device=sda1,path=/var")


def test_an_out_of_range_timestamp_is_named_on_the_quick_path_too() -> None:
    decoder = Decoder(Catalogue())
    decoder.decode(b"m,site=1 f=1 5", arrived_at=0, precision="s")
    _, errors = decoder.decode(b"m,site=1 f=1 5000000000000", arrived_at=0, precision="s")
    assert "is the precision right?" in errors[0].reason


@pytest.mark.parametrize("count", [1, 3])
def test_points_without_a_timestamp_were_measured_when_they_arrived(count: int) -> None:
    columns, _ = Decoder(Catalogue()).decode(b"\n".join([b"m,site=1 f=1"] * count), arrived_at=99)
    assert columns.measured_at.tolist() == [99] * count
    assert columns.points == count
    assert isinstance(columns.values, np.ndarray)
    assert isinstance(next(decode(b"m f=1")), Point)
