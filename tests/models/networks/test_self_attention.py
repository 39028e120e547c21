"""Self-attention, place by place, as the paper's equations have it."""

import torch

from models.networks.self_attention import SelfAttention


def test_a_place_gathers_from_all_others_by_how_their_keys_answer_it():
    torch.manual_seed(0)
    layer = SelfAttention(16).double()
    maps = torch.randn(2, 16, 4, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(maps), maps)  # gamma begins at 0
    torch.nn.init.constant_(layer.gamma, 0.7)
    found = layer(maps)
    queries, keys, values, output = (
        one.weight[:, :, 0, 0] for one in (layer.queries, layer.keys, layer.values, layer.output)
    )
    assert [len(one) for one in (queries, keys, values, output)] == [2, 2, 8, 16]
    for image in range(2):
        halved = [
            torch.stack([(weight @ maps[image, :, i : i + 2, j : j + 2].flatten(1)).amax(dim=1) for i, j in corners()])
            for weight in (keys, values)
        ]  # the largest of each four places
        for i in range(4):
            for j in range(6):
                scores = halved[0] @ (queries @ maps[image, :, i, j])
                shares = scores.exp() / scores.exp().sum()
                expected = maps[image, :, i, j] + 0.7 * output @ (shares @ halved[1])
                torch.testing.assert_close(found[image, :, i, j], expected)


def corners():
    return [(i, j) for i in range(0, 4, 2) for j in range(0, 6, 2)]


def test_it_can_be_differentiated_twice():
    layer = SelfAttention(4).double()
    torch.nn.init.constant_(layer.gamma, 0.5)
    maps = torch.randn(1, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (maps,))
