"""The U-Net is the one of pix2pix's code (its output: tests/models/checkpoints/test_layouts.py)."""

import pytest

from models import InputError, UNetConfig


def test_it_has_the_parameters_of_the_authors_code() -> None:
    """The authors print 54.414 M for unet_256, whose bottleneck sees one pixel for 256 x 256."""
    config = UNetConfig()
    assert sum(parameter.numel() for parameter in config.parts()["a_to_b"].parameters()) == 54_413_955
    assert (config.stride, config.minimum_size) == (256, 256)


def test_configs_refuse_what_cannot_be_built() -> None:
    with pytest.raises(InputError, match="levels is "):
        UNetConfig(levels=4)
    with pytest.raises(InputError, match="norm is "):
        UNetConfig(norm="layer")  # type: ignore[arg-type]
