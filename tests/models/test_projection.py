import pytest
import torch

from distill.models.projection import cut_product, fit_norm, identity_root, moment_root, principal_map, regress


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_principal_map_keeps_the_directions_of_most_variance():
    scales = torch.tensor([9.0, 0.1, 5.0, 0.2, 7.0])
    states = randn(500, 5) * scales
    encode, kept = principal_map([states[:100], states[100:]], 4, generator())
    # What is left of three components out of five can be put back together from four coordinates.
    decoded = (states - states.mean(0)) @ encode.T @ encode
    error = (decoded - (states - states.mean(0))).square().sum(0) / states.var(0) / 500
    assert error[[0, 2, 4]].max() < 1e-2
    assert error[[1, 3]].min() > 0.9
    assert kept == pytest.approx(1 - (0.1**2 + 0.2**2) / scales.square().sum().item(), abs=1e-4)


def test_mapped_states_have_mean_0_and_coordinates_of_like_size():
    states = randn(1000, 12) * torch.linspace(0.1, 3, 12) + 5
    encode, _ = principal_map([states], 8, generator())
    mapped = states @ encode.T
    assert mapped.mean(1).abs().max() < 1e-9
    spread = mapped.std(0)
    assert spread.max() / spread.min() < 5
    assert torch.allclose(encode @ encode.T, torch.eye(8).double() - 1 / 8, atol=1e-9)


def test_equal_width_is_left_alone_and_one_coordinate_keeps_nothing():
    encode, kept = principal_map([randn(50, 4)], 4, generator())
    assert torch.equal(encode, torch.eye(4).double())
    assert kept == 1
    encode, kept = principal_map([randn(50, 4)], 1, generator())
    assert encode.shape == (1, 4)
    assert kept == 0


def test_regression_finds_an_affine_map():
    inputs, weight, bias = randn(200, 6), randn(3, 6, seed=1), randn(3, seed=2)
    found = regress(inputs, inputs @ weight.T + bias, torch.zeros(3, 6).double())
    assert torch.allclose(found.weight, weight, atol=1e-3)
    assert torch.allclose(found.bias, bias, atol=1e-3)
    assert found.kept > 0.9999


def test_regression_keeps_its_prior_where_the_samples_say_nothing():
    inputs = randn(100, 4)
    inputs[:, 3] = 2.0  # never varies
    prior = randn(2, 4, seed=1)
    found = regress(inputs, inputs[:, :3] @ randn(2, 3, seed=2).T, prior)
    assert torch.allclose(found.weight[:, 3], prior[:, 3])
    assert found.kept > 0.999


def test_regression_on_noise_keeps_little():
    assert regress(randn(2000, 3), randn(2000, 2, seed=1), torch.zeros(2, 3).double()).kept < 0.02


def test_norm_is_fitted_to_its_own_output():
    norm = torch.nn.LayerNorm(6).double()
    with torch.no_grad():
        norm.weight.copy_(randn(6, seed=1))
        norm.bias.copy_(randn(6, seed=2))
        inputs = randn(300, 6)
        found = fit_norm(inputs, norm(inputs), norm.eps)
    assert torch.allclose(found.weight, norm.weight, atol=1e-9)
    assert torch.allclose(found.bias, norm.bias, atol=1e-9)
    assert found.kept == pytest.approx(1)


def test_cut_product_of_full_width_is_exact():
    left, right = randn(3, 5), randn(3, 7, seed=1)
    factors = cut_product(left, right, 3, identity_root(5), moment_root(randn(100, 6, seed=2)))
    assert torch.allclose(factors.left.T @ factors.right, left.T @ right, atol=1e-8)
    assert factors.kept == pytest.approx(1)


def test_cut_product_loses_least_on_the_inputs_it_was_given():
    left, right = randn(4, 6), randn(4, 6, seed=1)
    inputs = randn(400, 5, seed=2) * torch.tensor([5.0, 3.0, 1.0, 0.1, 0.05])
    root = moment_root(inputs)
    extended = torch.nn.functional.pad(inputs, (0, 1), value=1.0)

    def error(factors) -> float:
        products = extended @ (left.T @ right - factors.left.T @ factors.right) @ extended.T
        return float(products.square().sum())

    aware = cut_product(left, right, 2, root, root)
    blind = cut_product(left, right, 2, identity_root(6), identity_root(6))
    assert aware.left.shape == (2, 6)
    assert error(aware) < error(blind)
    whole = (extended @ left.T @ right @ extended.T).square().sum()
    assert 1 - error(aware) / whole == pytest.approx(aware.kept, abs=1e-6)


def test_moment_root_is_the_root_and_its_inverse():
    inputs = randn(200, 3)
    root = moment_root(inputs)
    extended = torch.nn.functional.pad(inputs, (0, 1), value=1.0)
    assert torch.allclose(root.root @ root.root, extended.T @ extended / 200, atol=1e-9)
    assert torch.allclose(root.root @ root.inverse, torch.eye(4).double(), atol=1e-9)
