"""The contrastive objective of CUT: a patch of a translation tells which patch of the photo it was made of."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from models import InputError

TEMPERATURE = 0.07  # tau


def patch_nce(*, queries: Sequence[Tensor], keys: Sequence[Tensor], temperature: float = TEMPERATURE) -> Tensor:
    """E[-log(exp(q_s . k_s / tau) / sum_t exp(q_s . k_t / tau))] over images, places s and layers; t are s and all
    other places of the same image.

    Park, Efros, Zhang, Zhu 2020, "Contrastive Learning for Unpaired Image-to-Image Translation", equations 2 and 3: the
    noise contrastive estimation of van den Oord et al. 2018. A mean over places and layers, where equation 3 has a sum,
    as in the authors' own code, to which the weights belong.

    Args:
        queries: for each layer [n, p, d], unit vectors of p places of n translations.
        keys: of the same places of the n photos; no gradient is passed to them.
        temperature: tau.

    Raises:
        InputError: no layers, or not the same number of them.
    """
    if not queries or len(queries) != len(keys):
        raise InputError(
            f"PatchNCE got {len(queries)} layers of queries and {len(keys)} of keys: it needs the same, one at least."
        )
    layers = []
    for query, key in zip(queries, keys, strict=True):
        logits = torch.einsum("nsd,ntd->nst", query, key.detach()) / temperature
        n, places, _ = logits.shape
        own = torch.arange(places, device=logits.device).expand(n, places)
        layers.append(cross_entropy(logits.flatten(0, 1), own.flatten()))
    return torch.stack(layers).mean()
