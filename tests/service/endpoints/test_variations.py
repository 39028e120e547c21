"""POST /v1/images/variations, by OpenAI's client."""

from collections.abc import Callable
from typing import Any

import openai
import pytest


def test_a_model_without_an_encoder_says_so(local: Any, picture: Callable[..., bytes]) -> None:
    with openai.OpenAI(base_url=f"{local.url}/v1", api_key="unused", max_retries=0, timeout=300) as client:
        with (
            pytest.raises(openai.BadRequestError, match="no variations"),
            pytest.warns(DeprecationWarning, match="deprecated"),
        ):
            client.images.create_variation(image=("a.png", picture(16, 16)), model="tiny", n=2, size="256x256")
        with (
            pytest.raises(openai.BadRequestError, match="cannot do this"),
            pytest.warns(DeprecationWarning, match="deprecated"),
        ):
            client.images.create_variation(image=("a.png", picture(16, 16)), model="horse")
