"""Every variable that the settings read stands in docs/settings.md, and the other way round."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_variables_and_document_agree():
    read = set(re.findall(r'"(VPP_[A-Z_]+|DATABASE_URL)"', (ROOT / "vpp" / "settings.py").read_text()))
    told = set(re.findall(r"`(VPP_[A-Z_]+|DATABASE_URL)`", (ROOT / "docs" / "settings.md").read_text()))
    elsewhere = {"VPP_EDGE_BROKER_URL", "VPP_ENROLMENT_TOKEN", "VPP_DEMO_DATABASE_URL"}
    assert read == told - elsewhere
