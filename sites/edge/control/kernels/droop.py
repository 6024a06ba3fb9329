"""The armed product curve: what power a site owes at its own measured frequency."""

from __future__ import annotations

from sites.edge.control.kernels.compiled import Record, kernel


@kernel
def curve_share(c: Record, deviation_hz: float) -> float:
    """Return the share of contracted power [0..1] at a deviation in the curve's own direction [Hz]."""
    if deviation_hz <= c["curve_hz"][0]:
        # Left of the first point nothing is due, also where the curve starts above zero.
        return c["curve_share"][0] if deviation_hz == c["curve_hz"][0] else 0.0
    last = c["points"] - 1
    for j in range(last):
        x1 = c["curve_hz"][j + 1]
        if deviation_hz <= x1:
            x0 = c["curve_hz"][j]
            y0 = c["curve_share"][j]
            return y0 + (c["curve_share"][j + 1] - y0) * (deviation_hz - x0) / (x1 - x0)
    return c["curve_share"][last]


@kernel
def required_power(k: Record, c: Record, sample: int, frequency_hz: float) -> float:
    """Return the service power due now [pu], positive into the bus; 0 outside the armed window."""
    if c["armed"] == 0 or sample < c["armed_starts"] or sample >= c["armed_ends"]:
        return 0.0
    nominal_hz = k["nominal_rad_s"] / 6.283185307179586
    return c["armed_sign"] * c["armed_pu"] * curve_share(c, (nominal_hz - frequency_hz) * c["armed_sign"])


@kernel
def follow(value: float, target: float, step: float) -> float:
    """Move a value towards a target by at most a step."""
    return min(max(target, value - step), value + step)


@kernel
def usable_energy(k: Record, soc_ratio: float) -> float:
    """Energy above the reserve, at the converter's terminals [pu·s of its rating], >= 0."""
    return max(0.0, soc_ratio - k["reserve_ratio"]) * k["capacity_pu_s"] * k["discharge_efficiency"]


@kernel
def absorbable_energy(k: Record, soc_ratio: float) -> float:
    """Room for charging up to 95 %, at the converter's terminals [pu·s of its rating], >= 0."""
    return max(0.0, 0.95 - soc_ratio) * k["capacity_pu_s"] / k["discharge_efficiency"]


@kernel
def limit_by_energy(k: Record, soc_ratio: float, power_pu: float) -> float:
    """Fade a power out within the last two seconds of usable or absorbable energy."""
    if power_pu > 0.0:
        return min(power_pu, usable_energy(k, soc_ratio) * 0.5)
    return max(power_pu, -absorbable_energy(k, soc_ratio) * 0.5)
