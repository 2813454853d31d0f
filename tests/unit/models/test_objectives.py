"""The objectives against torch.distributions, Monte Carlo, plain loops and finite differences."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from hebae.models.divergences import blocks
from hebae.models.divergences.gaussian import posterior_kl
from hebae.models.divergences.mmd import SCALES, mmd_squared
from hebae.models.divergences.moments import batch_moments, covariance_factor, gaussian_kl
from hebae.models.latent import SingularCovariance
from hebae.models.objectives.annealed_vae import annealed_vae
from hebae.models.objectives.hebae import hebae
from hebae.models.objectives.vae import vae
from hebae.models.objectives.wae import wae_mmd

N, D = 40, 5


def codes(n=N, d=D, seed=0, dtype=torch.float64):
    """Correlated codes off the origin, and log σ around −1."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator, dtype=dtype)
    mean = torch.randn(n, d, generator=generator, dtype=dtype) @ mixing + 0.3
    log_sigma = torch.randn(n, d, generator=generator, dtype=dtype) * 0.3 - 1
    return mean, log_sigma


def noise(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator, dtype=like.dtype)


def standard(d):
    return MultivariateNormal(
        torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
    )


def aggregate(mean):
    centre = mean.mean(0)
    covariance = (mean - centre).T @ (mean - centre) / len(mean)
    return MultivariateNormal(centre, covariance)


@pytest.mark.parametrize("reparameterisation", ["cholesky", "diagonal"])
def test_hebae_regulariser_is_the_multivariate_kl(reparameterisation):
    mean, log_sigma = codes()
    latent = hebae(mean, log_sigma, noise(), reparameterisation=reparameterisation)
    expected = kl_divergence(aggregate(mean), standard(D))
    torch.testing.assert_close(latent.regulariser, expected)


def test_hebae_regulariser_is_the_monte_carlo_kl():
    mean, log_sigma = codes()
    torch.manual_seed(0)
    q, p = aggregate(mean), standard(D)
    draws = q.sample((400_000,))
    log_ratio = q.log_prob(draws) - p.log_prob(draws)
    error = log_ratio.std() / math.sqrt(len(draws))
    regulariser = hebae(mean, log_sigma, noise()).regulariser
    assert abs(regulariser - log_ratio.mean()) < 5 * error
    assert error < 0.01 * regulariser  # tight enough to mean something


def test_theorem_1_the_penalised_mean_makes_up_the_kl():
    """KL(N(m̂, Σ̂) ‖ N(0, I)) = KL(N(m̂, Σ̂) ‖ N(m̂, I)) + ½‖m̂‖² (Eqs. 12, 13, 17).

    The left side is Eq. 13's regulariser; the right side is Eq. 12's, whose prior keeps the
    aggregate's own mean and whose constraint on that mean enters as an L2 penalty.
    """
    mean, log_sigma = codes()
    q = aggregate(mean)
    prior_with_own_mean = MultivariateNormal(q.mean, torch.eye(D, dtype=torch.float64))
    penalised = kl_divergence(q, prior_with_own_mean) + 0.5 * q.mean.square().sum()
    torch.testing.assert_close(hebae(mean, log_sigma, noise()).regulariser, penalised)


def test_hebae_regulariser_ignores_sigma():
    mean, log_sigma = codes()
    log_sigma.requires_grad_()
    latent = hebae(mean.requires_grad_(), log_sigma, noise())
    (gradient,) = torch.autograd.grad(latent.regulariser, log_sigma, allow_unused=True)
    assert gradient is None


@pytest.mark.parametrize("reparameterisation", ["cholesky", "diagonal"])
def test_sampled_codes_have_covariance_d_l_lt_d(reparameterisation):
    """Eq. 8: the codes of image i are N(μ_i, D_i Σ̂ D_i), D_i = diag σ_i."""
    mean, log_sigma = codes()
    # a batch said many times over has the same moments, and every copy its own noise
    copies = 5_000
    latent = hebae(
        mean.repeat(copies, 1),
        log_sigma.repeat(copies, 1),
        noise(),
        reparameterisation=reparameterisation,
    )
    draws = latent.z.reshape(copies, N, D)
    sigma_hat = aggregate(mean).covariance_matrix
    if reparameterisation == "diagonal":
        sigma_hat = sigma_hat.diagonal().diag()
    for i in (0, 7):
        scale = log_sigma[i].exp().diag()
        expected = scale @ sigma_hat @ scale
        error = 5 * expected.diagonal().max() * math.sqrt(2 / len(draws))
        assert (torch.cov(draws[:, i].T) - expected).abs().max() < error
        assert (draws[:, i].mean(0) - mean[i]).abs().max() < 5 * math.sqrt(
            expected.diagonal().max() / len(draws)
        )


def test_hebae_gradient_flows_through_the_cholesky_factor_only():
    mean, log_sigma = codes()
    for reparameterisation, flows in (("cholesky", True), ("diagonal", False)):
        mean = mean.detach().requires_grad_()
        latent = hebae(mean, log_sigma, noise(), reparameterisation=reparameterisation)
        (gradient,) = torch.autograd.grad(latent.z[0, 0], mean)
        # image 1 reaches the code of image 0 only through the batch's covariance
        assert (gradient[1].abs().sum() > 0) == flows


def test_vae_regulariser_is_the_mean_kl():
    mean, log_sigma = codes()
    q = Independent(Normal(mean, log_sigma.exp()), 1)
    p = Independent(Normal(torch.zeros(D).double(), torch.ones(D).double()), 1)
    latent = vae(mean, log_sigma, noise())
    torch.testing.assert_close(latent.regulariser, kl_divergence(q, p).mean())
    torch.testing.assert_close(latent.z, mean + log_sigma.exp() * noise()(mean))


def test_posterior_kl_with_mixing_is_the_multivariate_kl():
    mean, log_sigma = codes()
    mixing = torch.linalg.cholesky(aggregate(mean).covariance_matrix)
    scale_tril = log_sigma.exp()[:, :, None] * mixing
    expected = kl_divergence(MultivariateNormal(mean, scale_tril=scale_tril), standard(D))
    torch.testing.assert_close(posterior_kl(mean, log_sigma, mixing), expected)


def mmd_loop(a, b, constants):
    def k(x, y):
        squared = sum((x_k - y_k) ** 2 for x_k, y_k in zip(x, y, strict=True))
        return sum(c / (c + squared) for c in constants)

    a, b = a.tolist(), b.tolist()
    n, m = len(a), len(b)
    within_a = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j)
    within_b = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j)
    cross = sum(k(x, y) for x in a for y in b)
    return within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * cross / (n * m)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 4), st.integers(0, 2**32))
def test_mmd_is_the_double_loop(n, m, d, seed):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(n, d, generator=generator, dtype=torch.float64) * 2 + 1
    b = torch.randn(m, d, generator=generator, dtype=torch.float64)
    constants = [2 * d * s for s in SCALES]
    estimate = mmd_squared(a, b, constants).item()
    assert estimate == pytest.approx(mmd_loop(a, b, constants), abs=1e-10)


def test_wae_takes_its_kernel_from_the_prior_variance():
    mean, _ = codes(n=30)
    latent = wae_mmd(mean, None, noise(), prior_variance=2.0, scales=(0.5, 1.0))
    expected = mmd_loop(mean, noise()(mean), [2 * D * 2.0 * 0.5, 2 * D * 2.0 * 1.0])
    assert latent.regulariser.item() == pytest.approx(expected, abs=1e-10)
    assert latent.z is mean


def test_mmd_is_unbiased_and_blocks_keep_it_so(monkeypatch):
    """Codes from the prior score 0 on average: between standard errors, in blocks or not."""
    for block in (20, 1000):
        monkeypatch.setattr(blocks, "BLOCK", block)
        scores = torch.stack(
            [
                wae_mmd(noise(2 * seed)(torch.empty(60, 3)), None, noise(2 * seed + 1)).regulariser
                for seed in range(400)
            ]
        )
        assert abs(scores.mean()) < 4 * scores.std() / math.sqrt(len(scores))


@pytest.mark.parametrize(
    "objective",
    [
        vae,
        hebae,
        lambda mean, log_sigma, normal: wae_mmd(mean, None, normal),
    ],
    ids=["vae", "hebae", "wae_mmd"],
)
def test_gradients_are_the_finite_differences(objective):
    mean, log_sigma = codes(n=7, d=3)

    def terms(mean, log_sigma):
        latent = objective(mean, log_sigma, noise())
        return latent.z, latent.regulariser

    inputs = (mean.requires_grad_(), log_sigma.requires_grad_())
    assert torch.autograd.gradcheck(terms, inputs)


def test_diagonal_hebae_gradient_is_that_of_a_frozen_scale():
    mean, log_sigma = codes(n=7, d=3)
    scale = aggregate(mean).covariance_matrix.diagonal().sqrt()
    weights = torch.linspace(-1, 1, 21, dtype=torch.float64).reshape(7, 3)
    gradients = []
    for code in (
        lambda m, s: hebae(m, s, noise(), reparameterisation="diagonal").z,
        lambda m, s: m + s.exp() * scale * noise()(m),
    ):
        inputs = (mean.detach().requires_grad_(), log_sigma.detach().requires_grad_())
        gradients.append(torch.autograd.grad((weights * code(*inputs)).sum(), inputs))
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.randn(4, 4), "more than 4"),
        (torch.randn(3, 8), "more than 8"),
        (torch.ones(20, 3), "singular"),
        (torch.ones(20, 3) * 0.1 + 1e-9 * torch.randn(20, 3), "singular"),
        (torch.randn(20, 1).repeat(1, 3), "singular"),
        (torch.randn(20, 2) @ torch.randn(2, 6), "singular"),
        (torch.randn(20, 3) * torch.tensor([1.0, 1.0, 0.0]), "singular"),
        (torch.full((20, 3), math.nan), "singular"),
        (torch.full((20, 3), math.inf), "singular"),
    ],
    ids=[
        "n=d",
        "n<d",
        "constant",
        "constant up to rounding",
        "copies",
        "low rank",
        "one constant",
        "nan",
        "inf",
    ],
)
def test_singular_batches_are_an_error(batch, message):
    with pytest.raises(SingularCovariance, match=message):
        hebae(batch, torch.zeros_like(batch), noise())


def test_ill_conditioned_batches_stay_finite():
    """Down to the limit the gradients are finite; below it there is an error, never a NaN."""
    outcomes = set()
    for exponent in range(0, 20):
        torch.manual_seed(exponent)
        scales = torch.tensor([1.0, 1.0, 10.0**-exponent])
        mean = (torch.randn(64, 3) * scales).requires_grad_()
        try:
            latent = hebae(mean, torch.zeros(64, 3), noise())
        except SingularCovariance:
            outcomes.add("error")
            continue
        loss = latent.z.square().mean() + latent.regulariser
        (gradient,) = torch.autograd.grad(loss, mean)
        assert torch.isfinite(gradient).all()
        outcomes.add("finite")
    assert outcomes == {"error", "finite"}


def spread(*deviations, offset=0.0, n=200, seed=0):
    """Correlated float32 codes with these deviations around an offset."""
    generator = torch.Generator().manual_seed(seed)
    d = len(deviations)
    mixing = torch.eye(d) + 0.5 * torch.ones(d, d).tril(-1)
    codes = torch.randn(n, d, generator=generator) @ mixing.T
    return codes * torch.tensor(deviations) + offset


@pytest.mark.parametrize(
    "codes",
    [
        spread(1.0, 1.0, 1e-8),
        spread(1e-8, 1.0, 1.0),
        spread(1e-3, 1e-8, 1e-12),
        spread(1e4, 1.0, 1e-8),
        spread(1.0, 1.0, 1.0, offset=1000.0),
        spread(1.0, 0.1, 0.01, offset=1000.0),
    ],
    ids=["last small", "first small", "all small", "one large", "offset", "offset and small"],
)
def test_the_aggregate_kl_in_float32_is_that_of_the_same_codes_in_float64(codes):
    """Dimensions of deviation 1e-8 among others, and codes around 1,000."""
    ours = gaussian_kl(*covariance_factor(codes))
    exact = kl_divergence(aggregate(codes.double()), standard(codes.shape[1]))
    assert ours.item() == pytest.approx(exact.item(), rel=1e-6, abs=0.01)


def test_a_small_dimension_far_from_0_is_rounding():
    """Codes around 1 are known to 1e-7: a deviation of 1e-8 is none of theirs."""
    small = spread(1.0, 1.0, 1e-8)
    with pytest.raises(SingularCovariance):
        covariance_factor(small + torch.tensor([0.0, 0.0, 1.0]))
    with pytest.raises(SingularCovariance):
        covariance_factor(spread(1.0, 1.0, 1e-4, offset=1000.0))
    covariance_factor(small + torch.tensor([1.0, 1.0, 0.0]))  # the others may lie anywhere


@pytest.mark.parametrize("scale", [1.0, 1e-6])
@pytest.mark.parametrize("n", [20, 128])
def test_a_dimension_that_depends_on_others_is_always_refused(n, scale):
    """Rounding gives half of such batches a positive pivot, whatever the dimension's scale."""
    for seed in range(100):
        codes = spread(*[1.0] * 7, n=n, seed=seed)
        codes[:, 6] = scale * codes[:, :3].sum(dim=1)
        with pytest.raises(SingularCovariance):
            covariance_factor(codes)


def test_the_penalty_on_the_mean_has_a_multiplier_of_its_own():
    """Theorem 1 with a multiplier w: KL(N(m̂, Σ̂) ‖ N(m̂, I)) + w·½‖m̂‖²."""
    mean, log_sigma = codes()
    q = aggregate(mean)
    own = MultivariateNormal(q.mean, torch.eye(D, dtype=torch.float64))
    for weight in (0.0, 1.0, 7.0):
        expected = kl_divergence(q, own) + weight * 0.5 * q.mean.square().sum()
        found = hebae(mean, log_sigma, noise(), mean_weight=weight).regulariser
        torch.testing.assert_close(found, expected)


def test_moments_refuse_half_precision():
    with pytest.raises(ValueError, match="bfloat16"):
        batch_moments(torch.randn(20, 2).bfloat16())


@pytest.mark.parametrize(("n", "d"), [(128, 8), (128, 16), (128, 32), (100, 64)])
def test_batch_bias_of_the_aggregate_kl(n, d):
    """Codes that are exactly N(0, I) still score −½ E log det Σ̂ > 0, a Wishart expectation.

    E tr Σ̂ + E m̂ᵀm̂ = d, so the log determinant alone is left:
    E log det Σ̂ = Σ_{i=1..d} ψ((n − i)/2) + d log(2/n).
    """
    generator = torch.Generator().manual_seed(0)
    scores = torch.stack(
        [
            gaussian_kl(*covariance_factor(torch.randn(n, d, generator=generator)))
            for _ in range(300)
        ]
    )
    i = torch.arange(1, d + 1, dtype=torch.float64)
    expected = -0.5 * (torch.digamma((n - i) / 2).sum() + d * math.log(2 / n))
    assert abs(scores.mean() - expected) < 5 * scores.std() / math.sqrt(len(scores))


@pytest.mark.parametrize(("progress", "share"), [(0, 0), (0.1, 0.25), (0.4, 1), (1, 1)])
def test_the_kl_is_warmed_up(progress, share):
    """Over the first two fifths of the steps; the codes are the VAE's throughout."""
    mean, log_sigma = codes()
    warm = annealed_vae(mean, log_sigma, noise(), progress=progress, warm_up=0.4)
    plain = vae(mean, log_sigma, noise())
    assert torch.equal(warm.z, plain.z)
    torch.testing.assert_close(warm.regulariser, share * plain.regulariser)
