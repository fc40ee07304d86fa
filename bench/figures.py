"""Our figures beside published or hand-worked ones: MOS (G.107), PDV and IPDV (RFC 5481), jitter (RFC 3550)."""

from __future__ import annotations

from bench.common import table
from checks import mos
from checks.packets import interarrival_jitter, median, percentile, variations

TRAIN_MS = (20, 10, 20, 25, 20)  # the delays of RFC 5481's own example of both ways to say variation


def main() -> None:
    """Print each figure as published and as computed here, to the digits that were printed."""
    rows = []
    for delay_ms, loss_percent, rating, score in (
        (150, 1, "86.0", "4.23"),
        (300, 3, "62.4", "3.22"),
        (0, 0, "93.2", "4.41"),
    ):
        r = mos.transmission_rating(delay_ms / 1000, loss_percent / 100)
        case = f"{delay_ms} ms and {loss_percent} % loss, G.711 with PLC"
        rows.append((f"R, {case}", "G.107 simplified", rating, f"{r:.1f}"))
        rows.append((f"MOS, {case}", "G.107 simplified", score, f"{mos.mean_opinion_score(r):.2f}"))
    ipdv = " ".join(f"{each:g}" for each in variations(TRAIN_MS))
    pdv = " ".join(f"{each - min(TRAIN_MS):g}" for each in TRAIN_MS)
    train = " ".join(map(str, TRAIN_MS))
    rows.append((f"IPDV of delays {train} ms", "RFC 5481", "-10 10 5 -5", ipdv))
    rows.append((f"PDV of delays {train} ms", "RFC 5481", "10 0 10 15 10", pdv))
    jitter = interarrival_jitter(variations(TRAIN_MS))
    rows.append((f"jitter after delays {train} ms", "RFC 3550, worked by hand", "1.67", f"{jitter:.2f}"))
    ordered = sorted(TRAIN_MS)
    rows.append(
        (
            "median, 95th percentile of the same",
            "RFC 2330, nearest rank",
            "20 25",
            f"{median(ordered):g} {percentile(ordered, 95):g}",
        )
    )
    header = ("figure", "source", "published", "ours", "the same")
    table("figures beside published values", header, [(*row, "yes" if row[2] == row[3] else "NO") for row in rows])


if __name__ == "__main__":
    main()
