"""One simulated site's nameplates and surroundings, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sites.core.gridcodes import profile_for

SWITCH_KINDS: Final = ("sic", "forced", "natural", "contactor")
"""Static switch by how it opens: SiC in 50 us, SCR with forced commutation in 0.15 ms and 0.8 ms more at rated
current, SCR at each pole's own current zero, contactor 15-40 ms later at each pole's current zero."""
SITE_KINDS: Final = ("telecom", "cabinet", "data_center")
BUSES: Final = ("ac", "dc48", "dc400")
"""What the site's own bus is: AC behind a static switch, or DC behind rectifiers that give nothing back."""
CHEMISTRIES: Final = ("lfp", "vrla")
LOAD_PROFILES: Final = ("flat", "radio")


@dataclass(frozen=True, slots=True)
class SiteParameters:
    """What a simulated site is made of. Powers in kW are magnitudes; signs come from the bus."""

    site_id: str
    name: str
    kind: str
    nominal_hz: float
    nominal_voltage_v: float
    """Phase to neutral for one phase, phase to phase for three, r.m.s."""
    phases: int
    pcs_kva: float
    battery_kwh: float
    soc_ratio: float
    reserve_kwh: float
    """Energy that the site keeps for its own load; grid service ends here."""
    pv_kw: float
    pv_now_ratio: float
    """Share of the PV's rating that the sun gives now."""
    load_kw: float
    genset_kw: float
    import_limit_kw: float
    export_limit_kw: float
    switch_kind: str = "forced"
    meter_bias_hz: float = 0.0
    """What the site's frequency meter reads too much, from its sampling clock [Hz], up to 0.01."""
    noise_pu: float = 0.003
    """Half width of the uniform noise on each sampled voltage [pu]."""
    short_circuit_ratio: float = 10.0
    """Grid strength at the site, on the converter's rating; 5 is weak, 20 stiff."""
    neighbor_load_pu: float = 3.0
    """Load of the neighbors behind the same feeder breaker, on the converter's rating: when the feeder
    opens it is what pulls the voltage down."""
    grid_voltage_pu: float = 1.0
    fifth_harmonic_pu: float = 0.01
    enter_service_delay_s: float | None = None
    """How long the grid must be healthy before the site returns; None: as the grid code says."""
    grid_code: str = ""
    """Name of the grid code that the site keeps to; empty: the default of its nominal frequency."""
    anti_islanding: bool = True
    """The active method against unintended islands."""
    feeder: str = ""
    """Sites behind the same feeder carry the same name, and probe together."""
    starts_dead: bool = False
    """Begin with a dead bus behind an open feeder: black start."""
    filter_error: float = 0.0
    """By how much the controller takes its converter's filter for larger than it is, as a share."""
    converter: str = "grid_forming"
    """How its converter is controlled: grid_forming all the time, or grid_following until a loss is detected."""
    # Battery and DC link (battery.py, dc_link.py).
    ambient_c: float = 22.0
    """Around the battery, which begins at this temperature."""
    dc_link_ms: float = 0.0
    """How long the DC link alone carries the converter's rating, down to the voltage that it still modulates;
    0 for a link that the battery feeds directly. 12 mF at 800 V carry 500 kW for 2.6 ms."""
    dc_supply_ms: float = 1.0
    """Time constant of the battery's DC-DC converter behind such a link."""
    # What the mode machine needs (auxiliaries.py, genset.py).
    load_tiers: tuple[float, float, float] = (0.5, 0.3, 0.2)
    """Shares of the load behind contactors of their own: critical, essential, deferrable. An island that cannot
    carry all of it sheds the last first."""
    bond_fitted: bool = True
    """The site closes its own neutral-earth bond in an island."""
    bond_refuses: bool = False
    """A bond that stays closed beside the grid's sends the site into an island; else it is a warning."""
    momentary_s: float = 1.0
    """Longest absence of the grid after which a site whose code permits momentary islands returns at once."""
    genset_minimum_run_s: float = 300.0
    # Special loads (loads.py).
    neighbor_motor_share: float = 0.0
    """Share of the neighbors' load that is motors: their back-EMF holds the voltage after the feeder opened."""
    neighbor_motor_tau_s: float = 0.1
    """Time constant with which that back-EMF decays once nothing magnetizes the motors."""
    load_motor_share: float = 0.0
    """Share of the site's own load that is motors."""
    load_motor_tau_s: float = 0.1
    load_rectifier_share: float = 0.0
    """Share of the site's own load behind diode rectifiers with a capacitor: current at the crests only."""
    island_load_kw: float = 0.0
    """Parallel R, L, C beside the neighbors, the load of the anti-islanding tests: power of R at nominal voltage."""
    island_load_quality: float = 1.0
    """R times the square root of C/L; 1 by IEEE 1547.1 and IEC 62116."""
    island_load_kvar: float = 0.0
    """What L takes more than C gives at nominal voltage and frequency."""
    # DC sites (dc_site.py); their pcs_kva is the rated output of all rectifier modules together [kW].
    bus: str = "ac"
    rectifier_modules: int = 4
    battery_chemistry: str = "lfp"
    """Strings at a DC bus: 16 lithium iron phosphate cells at 48 V (112 at 400 V), or lead, 24 (168) cells."""
    load_profile: str = "flat"
    """How a DC site's load goes over the day: flat, or radio (base stations by hour)."""
    auxiliary_kw: float = 0.0
    """AC auxiliaries of a DC site (fans, lights): on the mains, transferred to a small inverter at its loss."""
    walk_in_s: float = 8.0
    """How long rectifiers take from nothing to full power after the mains return."""
    mains_return_delay_s: float = 5.0
    """How long the mains must be fit before a DC site's rectifiers come back: less than a generator's, for a
    load may come back at once; it only keeps a flickering feeder and a whole district from starting at once."""

    @property
    def is_dc(self) -> bool:
        """Whether the site's own bus is DC."""
        return self.bus != "ac"

    def __post_init__(self) -> None:
        _require(self, "phases", self.phases in (1, 3), "1 or 3")
        _require(self, "kind", self.kind in SITE_KINDS, ", ".join(SITE_KINDS))
        _require(self, "switch_kind", self.switch_kind in SWITCH_KINDS, ", ".join(SWITCH_KINDS))
        _require(self, "nominal_hz", self.nominal_hz in (50.0, 60.0), "50 or 60")
        profile_for(self.grid_code, self.nominal_hz)
        _require(self, "bus", self.bus in BUSES, ", ".join(BUSES))
        _require(self, "battery_chemistry", self.battery_chemistry in CHEMISTRIES, ", ".join(CHEMISTRIES))
        _require(self, "load_profile", self.load_profile in LOAD_PROFILES, ", ".join(LOAD_PROFILES))
        if self.is_dc:
            _require(self, "export_limit_kw", self.export_limit_kw == 0.0, "0 at a DC bus, for rectifiers give nothing")
            _require(self, "starts_dead", not self.starts_dead, "false at a DC bus")
            for name in ("load_motor_share", "load_rectifier_share"):
                _require(self, name, getattr(self, name) == 0.0, "0 at a DC bus")
        tiers = len(self.load_tiers) == 3 and min(self.load_tiers) >= 0.0 and abs(sum(self.load_tiers) - 1.0) < 1e-6
        _require(self, "load_tiers", tiers, "three shares that add up to 1")
        for name, low, high in (
            ("nominal_voltage_v", 50.0, 50_000.0),
            ("pcs_kva", 0.1, 100_000.0),
            ("battery_kwh", 0.1, 1_000_000.0),
            ("soc_ratio", 0.0, 1.0),
            ("reserve_kwh", 0.0, self.battery_kwh),
            ("pv_kw", 0.0, 100_000.0),
            ("pv_now_ratio", 0.0, 1.0),
            ("load_kw", 0.0, 100_000.0),
            ("genset_kw", 0.0, 100_000.0),
            ("import_limit_kw", 0.0, 1_000_000.0),
            ("export_limit_kw", 0.0, 1_000_000.0),
            ("meter_bias_hz", -0.05, 0.05),
            ("noise_pu", 0.0, 0.05),
            ("short_circuit_ratio", 2.0, 100.0),
            ("neighbor_load_pu", 0.0, 20.0),
            ("grid_voltage_pu", 0.9, 1.1),
            ("fifth_harmonic_pu", 0.0, 0.08),
            ("enter_service_delay_s", 0.0, 3600.0),
            ("filter_error", -0.3, 0.3),
            ("ambient_c", -40.0, 60.0),
            ("dc_link_ms", 0.0, 1000.0),
            ("dc_supply_ms", 0.05, 1e6),
            ("momentary_s", 0.0, 3600.0),
            ("genset_minimum_run_s", 0.0, 86_400.0),
            ("neighbor_motor_share", 0.0, 0.95),
            ("neighbor_motor_tau_s", 0.002, 2.0),
            ("load_motor_share", 0.0, 0.8),
            ("load_motor_tau_s", 0.002, 2.0),
            ("load_rectifier_share", 0.0, 0.8),
            ("island_load_kw", 0.0, 1_000_000.0),
            ("island_load_quality", 0.0, 10.0),
            ("island_load_kvar", -1_000_000.0, 1_000_000.0),
            ("rectifier_modules", 1, 1000),
            ("auxiliary_kw", 0.0, 0.3 * self.pcs_kva),
            ("walk_in_s", 0.0, 60.0),
            ("mains_return_delay_s", 0.0, 3600.0),
        ):
            value = getattr(self, name)
            _require(self, name, value is None or low <= value <= high, f"{low} to {high}")


def _require(site: SiteParameters, name: str, fits: bool, accepted: str) -> None:
    if not fits:
        raise ValueError(f"site {site.site_id!r}: {name} is {getattr(site, name)!r}, accepted: {accepted}")
