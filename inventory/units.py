"""The official list of provinces and communes: `units.csv`, codes as text, names in NFC."""

from __future__ import annotations

import csv
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LIST = Path(__file__).with_name("units.csv")


@dataclass(frozen=True, slots=True)
class Unit:
    """A commune, ward or special zone. Its code never changes and never repeats; its name may (293 do)."""

    code: str
    name: str
    short_name: str
    province: str
    province_name: str
    latitude: float
    longitude: float


@cache
def load_units() -> tuple[Unit, ...]:
    """Return every unit of the country, ordered by province and code."""
    with LIST.open(encoding="utf-8", newline="") as file:
        units = [
            Unit(
                code=row["ward_code"],
                name=nfc(row["name"]),
                short_name=nfc(row["short_name"]),
                province=row["province_code"],
                province_name=nfc(row["province"]),
                latitude=float(row["latitude"]),
                longitude=float(row["longitude"]),
            )
            for row in csv.DictReader(file)
        ]
    return tuple(sorted(units, key=lambda unit: (unit.province, unit.code)))


@cache
def provinces() -> dict[str, str]:
    """Return the name of each province by its code."""
    return {unit.province: unit.province_name for unit in load_units()}


def of_province(code: str) -> tuple[Unit, ...]:
    """Return a province's units, ordered by code; none for a code that is not a province's."""
    return tuple(unit for unit in load_units() if unit.province == code)


@cache
def by_code() -> dict[str, Unit]:
    """Return every unit by its code."""
    return {unit.code: unit for unit in load_units()}


def search(text: str) -> tuple[Unit, ...]:
    """Return the units whose code or name has a word that begins with `text`, whatever its accents and case.

    With a comma, the province is looked at too: "hoa an, cao" finds Hòa An of Cao Bằng.
    """
    wanted, comma, province = (fold(part) for part in text.partition(","))
    return tuple(
        unit
        for unit in load_units()
        if f" {wanted}" in f" {unit.code} {fold(unit.name)}"
        and (not comma or f" {province}" in f" {fold(unit.province_name)}")
    )


def nfc(text: str) -> str:
    """Return `text` with each letter and its accents as one code point where Unicode has one."""
    return unicodedata.normalize("NFC", text)


def fold(text: str) -> str:
    """Return `text` without accents and case, so that Hòa, Hoà and hoa are the same; đ is d."""
    bare = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return " ".join(bare.casefold().replace("đ", "d").split())


def slug(text: str, dash: str = "-") -> str:
    """Return `text` folded and joined by `dash`: Bà Rịa → ba-ria."""
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in fold(text)).split()
    return dash.join(words)
