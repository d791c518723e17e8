"""Tests of the frequency cap."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nurture.domain.planning.frequency_cap import FrequencyCap

DAY = timedelta(days=1)


@pytest.mark.parametrize(("touches", "per"), [(0, DAY), (1, timedelta()), (-1, DAY)])
def test_a_cap_of_zero_touches_is_rejected(touches: int, per: timedelta) -> None:
    with pytest.raises(ValueError, match="a frequency cap needs at least one touch"):
        FrequencyCap(touches, per)
