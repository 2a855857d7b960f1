"""What is mended of vLLM's CPU build; `tests/backends` has the real one."""

import torch

from icrl.models.vllm_adapters import only_where_asked


def shrink(inputs, weights, output, indices, scaling=1.0):
    """As vLLM's torch kernels have it: -1 is the last of the weights."""
    output[:] = scaling * torch.einsum("bi, boi -> bo", inputs, weights[indices])


def test_tokens_without_an_adapter_get_nothing():
    torch.manual_seed(0)
    inputs, weights, indices = torch.randn(4, 3), torch.randn(2, 5, 3), torch.tensor([0, -1, 1, -1])
    plain, mended = torch.zeros(4, 5), torch.ones(4, 5)
    shrink(inputs, weights, plain, indices, 0.5)
    only_where_asked(shrink)(inputs, weights, mended, indices, 0.5)
    assert (mended[[1, 3]] == 0).all() and (plain[[1, 3]] != 0).any()
    torch.testing.assert_close(mended[[0, 2]], plain[[0, 2]], rtol=0, atol=0)
    every = torch.tensor([0, 1, 1, 0])
    shrink(inputs, weights, plain, every)
    only_where_asked(shrink)(inputs, weights, mended, every)
    assert torch.equal(mended, plain)
