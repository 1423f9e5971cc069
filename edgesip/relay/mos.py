"""What a listener would say of a stream: MOS from loss and delay, by the E-model in short; and sums of it.

The formula of media-relay.md §5. Refuses to know where loss, jitter and round trip were measured.
"""

from __future__ import annotations

from edgesip.relay.track import Track

FEW = 5
"""Packets that a look needs to be a sample."""

BEST, WORST = 4.5, 1.0
_LOW_R = 77.5  # below it the parabola turns up again, as if a call got better by losing more
_LATE = 177.3  # milliseconds from which on people begin to talk into each other


def mos(loss: float, jitter: float, rtt: float | None) -> float:
    """1 (nobody understands a word) to 4.5, for `loss` percent, `jitter` and `rtt` in seconds.

    `rtt` None: not known, so only the jitter counts as delay. Where the parabola of the formula would turn
    up again, beyond 15.7 % of loss, it falls on by one for each percent.
    """
    delay = ((rtt or 0.0) / 2 + jitter) * 1000
    impairment = 0.024 * delay + (0.11 * (delay - _LATE) if delay > _LATE else 0.0)
    r = 93.2 - loss
    low = max(r, _LOW_R)
    factor = 0.18 * low * low - 27.9 * low + 1126.62 - (low - r) - impairment
    if factor <= 0:
        return WORST
    return min(BEST, max(WORST, 1 + 0.035 * factor + 7e-6 * factor * (factor - 60) * (100 - factor)))


class Sums:
    """What all looks so far add up to: a stream that was heard is one sample a look.

    MOS in thousandths, jitter and round trip in microseconds, loss in thousandths of what was to come.
    """

    def __init__(self) -> None:
        names = "packets_lost reordered duplicates dtmf_events mos_total mos_samples_total packetloss_total"
        names += " packetloss_samples_total jitter_total jitter_samples_total rtt_total rtt_samples_total"
        self.counts = {f"rtp:rtp_{name}": 0 for name in names.split()}

    def add(self, track: Track) -> None:
        """One look at a track: what it has counted since the last one."""
        counts = self.counts
        before, now = track.summed, track.counted()
        track.summed = now
        packets, gone = now.packets - before.packets, now.lost - before.lost
        counts["rtp:rtp_packets_lost"] += gone
        counts["rtp:rtp_reordered"] += now.reordered - before.reordered
        counts["rtp:rtp_duplicates"] += now.duplicates - before.duplicates
        counts["rtp:rtp_dtmf_events"] += now.events - before.events
        if track.told_rtt is not None:
            counts["rtp:rtp_rtt_total"] += round(track.told_rtt * 1e6)
            counts["rtp:rtp_rtt_samples_total"] += 1
            track.told_rtt = None
        source = track.current
        if packets < FEW or source is None:
            return
        jitter = source.jitter
        percent = 100 * max(gone, 0) / (packets + max(gone, 0))
        score = mos(percent, jitter, track.rtt)
        track.mos_low = min(score, track.mos_low or BEST)
        track.mos_sum += score
        track.mos_count += 1
        counts["rtp:rtp_mos_total"] += round(score * 1000)
        counts["rtp:rtp_mos_samples_total"] += 1
        counts["rtp:rtp_packetloss_total"] += round(percent * 10)
        counts["rtp:rtp_packetloss_samples_total"] += 1
        if source.rate:
            track.jitter_max = max(track.jitter_max, jitter)
            counts["rtp:rtp_jitter_total"] += round(jitter * 1e6)
            counts["rtp:rtp_jitter_samples_total"] += 1
