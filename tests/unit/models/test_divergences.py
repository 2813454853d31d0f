"""InfoVAE's divergences against loops, closed forms and quadrature; and what they do to codes."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from tests.runs import changed
from torch.distributions import Independent, Normal

from hebae.measures import diagnostics
from hebae.models.autoencoder import Autoencoder
from hebae.models.divergences.adversarial import Discriminator, adversarial
from hebae.models.divergences.gaussian import posterior_kl
from hebae.models.divergences.mmd import SCALES, mmd, mmd_squared
from hebae.models.divergences.stein import stein, stein_direction, stein_discrepancy
from hebae.models.latent import of_codes
from hebae.models.objectives.infovae import infovae
from hebae.models.objectives.noise import no_noise
from hebae.models.objectives.vae import vae
from hebae.training.optimiser import Adam


def draws(seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return lambda like: torch.randn(like.shape, generator=generator, dtype=dtype)


def some_codes(n=12, d=3, seed=0):
    return 1.5 * draws(seed, torch.float64)(torch.empty(n, d)) + 0.4


def prior(z):
    return Independent(Normal(torch.zeros_like(z), 1), 1)


# MMD


@pytest.mark.parametrize("scales", [[2.0], [0.3, 4.0]])
def test_the_gaussian_kernels_mmd_is_the_double_loop(scales):
    a, b = some_codes(7), some_codes(5, seed=1)

    def mean_kernel(x, y, same):
        values = [
            sum(math.exp(-sum((p - q) ** 2 for p, q in zip(u, v, strict=True)) / s) for s in scales)
            for i, u in enumerate(x.tolist())
            for j, v in enumerate(y.tolist())
            if not (same and i == j)
        ]
        return sum(values) / len(values)

    expected = mean_kernel(a, a, True) + mean_kernel(b, b, True) - 2 * mean_kernel(a, b, False)
    assert mmd_squared(a, b, scales, "gaussian").item() == pytest.approx(expected, abs=1e-12)


def plain_mmd(a, b, scales, kernel):
    """Left to autograd."""

    def gram(x, y):
        squared = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
        kernels = {"imq": lambda s: s / (s + squared), "gaussian": lambda s: (squared / -s).exp()}
        return sum(kernels[kernel](s) for s in scales)

    def within(x):
        return gram(x, x).fill_diagonal_(0).sum() / (len(x) * (len(x) - 1))

    return within(a) + within(b) - 2 * gram(a, b).mean()


@pytest.mark.parametrize("kernel", ["imq", "gaussian"])
def test_mmds_gradients_are_those_of_autograd(kernel):
    a, b, scales = some_codes(7), some_codes(5, seed=1), [0.3, 4.0]
    expected, found = ([x.clone().requires_grad_() for x in (a, b)] for _ in range(2))
    plain_mmd(*expected, scales, kernel).backward()
    value = mmd_squared(*found, scales, kernel)
    value.backward()
    assert value.item() == mmd_squared(a, b, scales, kernel).item()
    for theirs, ours in zip(expected, found, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-13)
    assert torch.autograd.gradcheck(lambda *x: mmd_squared(*x, scales, kernel), found)


@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of addcmul_
def test_mmds_gradient_can_be_taken_of_several_models_at_once():
    a, b = torch.stack([some_codes(7), some_codes(7, seed=2)]), some_codes(5, seed=1)
    gradient = torch.func.grad(lambda x: mmd_squared(x, b, [0.3, 4.0]))
    together = torch.func.vmap(gradient)(a)
    apart = torch.stack([gradient(x) for x in a])
    torch.testing.assert_close(together, apart, rtol=1e-10, atol=1e-13)


def test_mmd_keeps_few_matrices_for_its_gradient():
    """Of seven scales and three pairs of samples; 60 were kept when autograd was left to it."""
    kept = []
    a, b = torch.randn(50, 3, requires_grad=True), torch.randn(50, 3)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        mmd_squared(a, b, SCALES)
    assert sum(x.numel() >= 50 * 50 for x in kept) <= 6


def test_mmd_of_codes_far_from_0_keeps_its_digits():
    """In float32; the squares of codes around 1,000 have no digits left for distances of 1."""
    far = [some_codes(40, seed=seed).float() + 1000 for seed in (0, 1)]
    exact = mmd_squared(*(codes.double() for codes in far), SCALES)
    assert mmd_squared(*far, SCALES).item() == pytest.approx(exact.item(), abs=1e-4)


@pytest.mark.parametrize("kernel", ["imq", "gaussian"])
def test_mmd_takes_its_scales_from_dimension_and_prior(kernel):
    codes = some_codes()
    value = mmd(
        codes, draws(3, torch.float64), kernel=kernel, prior_variance=2.0, scales=(0.5, 1)
    ).value
    samples = draws(3, torch.float64)(codes)
    expected = mmd_squared(codes, samples, [2 * 3 * 2.0 * 0.5, 2 * 3 * 2.0], kernel)
    assert value.item() == pytest.approx(expected.item(), abs=1e-12)


# Stein


def test_steins_direction_is_the_double_loop():
    """∇log p and ∇k by automatic differentiation, one pair of codes at a time."""
    codes = some_codes()
    h = torch.tensor(1.7, dtype=torch.float64)
    direction = torch.zeros_like(codes)
    for i, target in enumerate(codes):
        for source in codes:
            z = source.clone().requires_grad_()
            (score,) = torch.autograd.grad(prior(z).log_prob(z), z)
            kernel = torch.exp(-(z - target).square().sum() / h)
            (slope,) = torch.autograd.grad(kernel, z)
            direction[i] += (kernel.detach() * score + slope) / len(codes)
    torch.testing.assert_close(stein_direction(codes, h), direction)


@pytest.mark.parametrize(("mean", "sigma"), [(0.0, 1.0), (1.5, 0.6), (-2.0, 1.4)])
def test_steins_direction_on_gaussian_codes(mean, sigma):
    """For codes from N(m, s²I), Stein's identity turns E ∇k into E k·(y − m)/s².

    k(·, z) times the density of the codes is E[k] times that of N(ỹ, ·), with E[k] =
    (h/(h + 2s²))^{d/2} exp(−‖z − m‖²/(h + 2s²)) and ỹ = (h·m + 2s²·z)/(h + 2s²). So
    φ(z) = E[k]·((ỹ − m)/s² − ỹ): zero everywhere for N(0, I), and no other.
    """
    d, h = 2, torch.tensor(2.0, dtype=torch.float64)
    codes = mean + sigma * draws(1, torch.float64)(torch.empty(4000, d))
    wide = h + 2 * sigma**2
    mass = (h / wide) ** (d / 2) * torch.exp(-(codes - mean).square().sum(1) / wide)
    centre = (h * mean + 2 * sigma**2 * codes) / wide
    expected = mass[:, None] * ((centre - mean) / sigma**2 - centre)
    found = stein_direction(codes, h)
    # 4,000 samples: a mean of terms of order 1
    assert (found - expected).abs().max() < 0.1
    assert (found - expected).square().mean().sqrt() < 0.02
    if (mean, sigma) == (0.0, 1.0):
        assert expected.abs().max() < 1e-12
    else:
        assert expected.square().mean().sqrt() > 0.1


def test_the_stein_discrepancy_is_the_double_loop():
    """u(x, y) from its definition, with derivatives of k by automatic differentiation."""
    codes = some_codes(6)
    h = torch.tensor(1.3, dtype=torch.float64)

    def kernel(x, y):
        return torch.exp(-(x - y).square().sum() / h)

    total = 0.0
    for i, x in enumerate(codes):
        for j, y in enumerate(codes):
            if i == j:
                continue
            by_x, by_y = torch.func.grad(kernel, (0, 1))(x, y)
            mixed = torch.func.jacrev(torch.func.grad(kernel, 0), 1)(x, y)
            total += (x @ y) * kernel(x, y) - x @ by_y - y @ by_x + mixed.trace()
    expected = total / (6 * 5)
    torch.testing.assert_close(stein_discrepancy(codes, h), expected)


def test_the_stein_discrepancy_is_unbiased():
    h = torch.tensor(3.0)
    scores = torch.stack(
        [stein_discrepancy(draws(seed)(torch.empty(40, 2)), h) for seed in range(500)]
    )
    assert abs(scores.mean()) < 4 * scores.std() / math.sqrt(len(scores))
    assert (scores < 0).any()


def test_codes_follow_steins_direction_and_not_its_gradient():
    codes = some_codes(20).requires_grad_()
    value = stein(codes, draws()).value
    (gradient,) = torch.autograd.grad(value, codes)
    torch.testing.assert_close(gradient, -stein_direction(codes.detach()) / 20)
    torch.testing.assert_close(value.detach(), stein_discrepancy(codes.detach()))


def test_bandwidths_are_the_medians():
    codes = some_codes(9)
    distances = [float((a - b).square().sum()) for k, a in enumerate(codes) for b in codes[:k]]
    median = torch.tensor(np.quantile(distances, 0.5, method="lower"))
    torch.testing.assert_close(stein_direction(codes), stein_direction(codes, median / math.log(9)))
    torch.testing.assert_close(stein_discrepancy(codes), stein_discrepancy(codes, median))


def test_the_discrepancy_of_a_batch_and_of_a_split_compare():
    wide = 1.2 * draws(2)(torch.empty(8000, 10))
    batches = torch.stack([stein(wide[k::60], draws()).value for k in range(60)])
    expected = stein(wide, draws()).value
    assert abs(batches.mean() - expected) < 4 * batches.std() / math.sqrt(60) and expected > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("offset", "scale"), [(0, 1), (1000, 1), (0, 1e-8), (1, 1e-4), (1000, 1e-3), (0, 1e-15)]
)
def test_steins_direction_wherever_codes_lie(offset, scale, dtype):
    """All differences in float64. One code lies far from the others, and two are equal."""
    codes = (some_codes(20) * scale + offset).to(dtype)
    codes[3], codes[4] = codes[5], codes[4] + 30 * scale
    z = codes.double()
    apart = z[:, None] - z
    squared = apart.square().sum(2)
    median = squared[torch.triu_indices(20, 20, 1).unbind()].median()
    kernel = (-squared * math.log(20) / median).exp()[:, :, None]
    expected = (kernel * (-z + 2 * math.log(20) / median * apart)).mean(1)
    digits = {"rtol": 2e-5 if dtype == torch.float32 else 1e-12}
    digits["atol"] = digits["rtol"] * expected.abs().max().item()
    torch.testing.assert_close(stein_direction(codes).double(), expected, **digits)
    ratio = squared / median
    terms = (-ratio).exp() * (z @ z.T - 2 * ratio + (6 - 4 * ratio) / median)
    discrepancy = (terms.sum() - terms.diagonal().sum()) / (20 * 19)
    found = stein_discrepancy(codes).double()
    torch.testing.assert_close(found, discrepancy, rtol=1e-4, atol=0)


@pytest.mark.parametrize("divergence", [mmd, stein])
def test_the_order_of_codes_hardly_matters(divergence):
    """Blocks of neighbours would each be half of a Gaussian."""
    codes = draws(5)(torch.empty(6000, 3))
    ordered = codes[codes[:, 0].argsort()]
    values = [divergence(part, draws(1)).value for part in (codes, ordered)]
    assert abs(values[0] - values[1]) < 0.01


def test_equal_codes_have_a_direction():
    direction = stein_direction(torch.ones(5, 2))
    torch.testing.assert_close(direction, -torch.ones(5, 2))


# adversarial


def js_divergence(p, q) -> float:
    """Jensen-Shannon divergence of two densities on the line, by quadrature, in nats."""

    def integrand(x):
        a, b = p.pdf(x), q.pdf(x)
        middle = (a + b) / 2
        return 0.5 * sum(v * np.log(v / middle) for v in (a, b) if v > 0)

    return integrate.quad(integrand, -12, 12, limit=200)[0]


@pytest.mark.parametrize(("mean", "sigma"), [(1.5, 0.7), (0.0, 1.0), (4.0, 1.0)])
def test_the_discriminators_optimum_is_log_4_minus_twice_js(mean, sigma):
    """Goodfellow et al. 2014, Theorem 1; and its logit there is log p − log q."""
    normal = draws(1)
    network = Discriminator(1, torch.Generator().manual_seed(0), widths=(64, 64))
    adam = Adam(network.parameters(), 1e-7, network.adam_beta1)
    steps = 600
    for step in range(steps):
        codes = mean + sigma * normal(torch.empty(512, 1))
        loss = adversarial(codes, normal, adversary=network).adversary_loss
        adam.minimise(loss, 0.003 * (1 - step / steps))
    codes = mean + sigma * normal(torch.empty(100_000, 1))
    with torch.no_grad():
        value, loss = adversarial(codes, normal, adversary=network)
    p, q = stats.norm(), stats.norm(mean, sigma)
    js = js_divergence(p, q)
    assert loss.item() == pytest.approx(math.log(4) - 2 * js, abs=0.02)
    assert value.item() == pytest.approx(js, abs=0.01)
    # where both have some mass
    x = np.linspace(max(-2, mean - 2 * sigma), min(2, mean + 2 * sigma), 21)
    with torch.no_grad():
        logits = network(torch.tensor(x, dtype=torch.float32)[:, None]).numpy()
    assert np.abs(logits - (p.logpdf(x) - q.logpdf(x))).max() < 0.35


def test_codes_and_discriminator_each_follow_their_own_loss():
    generator = torch.Generator().manual_seed(0)
    network = Discriminator(3, generator, widths=(8,)).double()
    codes = some_codes().requires_grad_()
    value, loss = adversarial(codes, draws(1, torch.float64), adversary=network)
    value.backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in network.parameters())
    (expected,) = torch.autograd.grad(
        torch.nn.functional.softplus(-network(codes)).mean(), codes, retain_graph=True
    )
    torch.testing.assert_close(codes.grad, expected)
    codes.grad = None
    loss.backward()
    assert codes.grad is None
    samples = draws(1, torch.float64)(codes)
    targets = torch.cat([torch.ones(12), torch.zeros(12)]).double()
    logits = network(torch.cat([samples, codes.detach()]))
    other = 2 * torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    for parameter, gradient in zip(
        network.parameters(), torch.autograd.grad(other, network.parameters()), strict=True
    ):
        torch.testing.assert_close(parameter.grad, gradient)


# all of them


class Pushed:
    """Codes z = A ε + b that start far from the prior."""

    def __init__(self, d: int) -> None:
        self.parameters = [0.3 * torch.eye(d), torch.full((d,), 4.0)]
        for parameter in self.parameters:
            parameter.requires_grad_()

    def codes(self, normal, n: int) -> torch.Tensor:
        mixing, centre = self.parameters
        return normal(torch.empty(n, len(centre))) @ mixing.T + centre


@pytest.mark.parametrize("name", ["mmd imq", "mmd gaussian", "stein", "adversarial"])
def test_every_divergence_drives_far_codes_to_the_prior(name):
    d = 2
    normal = draws(2)
    network = Discriminator(d, torch.Generator().manual_seed(0), widths=(64, 64))
    divergence = {
        "mmd imq": lambda z: mmd(z, normal),
        "mmd gaussian": lambda z: mmd(z, normal, kernel="gaussian"),
        "stein": lambda z: stein(z, normal),
        "adversarial": lambda z: adversarial(z, normal, adversary=network),
    }[name]
    pushed = Pushed(d)
    adam = Adam(pushed.parameters, 1e-7)
    adversary = Adam(network.parameters(), 1e-7, network.adam_beta1)
    steps = 800
    for step in range(steps):
        value, loss = divergence(pushed.codes(normal, 256))
        rate = 0.06 * (1 - step / steps) ** 2
        adam.minimise(value, rate)
        if loss is not None:
            adversary.minimise(loss, rate * network.rate_factor)

    mixing, centre = pushed.parameters
    assert centre.abs().max() < 0.05
    # finite sets of codes under Stein's direction are a little too narrow
    assert (mixing @ mixing.T - torch.eye(d)).abs().max() < 0.12
    p_values = []
    for seed in range(5):
        codes = pushed.codes(draws(seed), 400).detach().double().numpy()
        rng = np.random.default_rng(seed)
        samples = rng.standard_normal((2000, d))
        p_values.append(diagnostics.mmd(codes, samples, permutations=99, rng=rng).p_value)
    assert np.median(p_values) > 0.05


# the objective


def fixed(value):
    """A divergence that charges a number for every code's square, and an adversary's loss."""
    return lambda codes, normal: (value * codes.z.square().mean(), torch.tensor(7.0))


@pytest.mark.parametrize(("alpha", "weight"), [(1.0, 0.3), (0.0, 1.0), (0.4, 5.0), (-2.0, 3.0)])
def test_infovae_is_its_definition(alpha, weight):
    mean, log_sigma = some_codes(), 0.3 * some_codes(seed=2) - 1
    latent = infovae(
        mean,
        log_sigma,
        draws(5, torch.float64),
        lam=weight,
        divergence=fixed(3.0),
        alpha=alpha,
    )
    z = mean + log_sigma.exp() * draws(5, torch.float64)(mean)
    torch.testing.assert_close(latent.z, z)
    posterior = Independent(Normal(mean, log_sigma.exp()), 1)
    kl = torch.distributions.kl_divergence(posterior, prior(mean)).mean()
    d = 3.0 * z.square().mean()
    expected = (1 - alpha) * kl + (alpha + weight - 1) * d
    torch.testing.assert_close(weight * latent.regulariser, expected)
    assert latent.adversary_loss.item() == 7


def test_without_a_divergence_infovae_is_the_vae():
    mean, log_sigma = some_codes(), 0.3 * some_codes(seed=2) - 1
    ours = infovae(
        mean, log_sigma, draws(5, torch.float64), lam=1.0, divergence=fixed(9.0), alpha=0.0
    )
    theirs = vae(mean, log_sigma, draws(5, torch.float64))
    torch.testing.assert_close(ours.regulariser, theirs.regulariser)
    torch.testing.assert_close(ours.z, theirs.z)
    torch.testing.assert_close(ours.regulariser, posterior_kl(mean, log_sigma).mean())


def test_infovaes_gradient_is_the_finite_difference():
    mean, log_sigma = some_codes(7), 0.3 * some_codes(7, seed=2) - 1

    def terms(mean, log_sigma):
        latent = infovae(
            mean,
            log_sigma,
            draws(5, torch.float64),
            lam=2.0,
            divergence=of_codes(mmd),
            alpha=0.5,
        )
        return latent.z, latent.regulariser

    assert torch.autograd.gradcheck(terms, (mean.requires_grad_(), log_sigma.requires_grad_()))


def test_the_wae_gans_code_is_the_mean():
    mean = some_codes()
    latent = no_noise(mean, None, draws(), divergence=fixed(2.0))
    assert latent.z is mean and latent.mixing is None
    torch.testing.assert_close(latent.regulariser, 2 * mean.square().mean())


def test_a_run_gives_its_objective_weight_divergence_and_adversary():
    mean, log_sigma = some_codes(9, 4).float(), some_codes(9, 4, seed=2).float() - 1
    parameters = {"alpha": 0.5, "divergence": {"name": "mmd", "kernel": "gaussian"}}
    run = changed(objective="infovae", lam=3.0, parameters=parameters)
    model = Autoencoder(run, (8, 8, 1))
    assert {name for name, _ in model.named_children()} == {"encoder", "decoder"}
    latent = model.latent(mean, log_sigma, draws(4))
    normal = draws(4)
    z = mean + log_sigma.exp() * normal(mean)
    d = mmd(z, normal, kernel="gaussian").value
    kl = posterior_kl(mean, log_sigma).mean()
    torch.testing.assert_close(3 * latent.regulariser, 0.5 * kl + 2.5 * d)

    own = {"name": "adversarial", "widths": [5, 6], "rate_factor": 0.5, "adam_beta1": 0.1}
    run = changed(objective="wae_gan", parameters={"divergence": own})
    model = Autoencoder(run, (8, 8, 1))
    network = model.adversary
    assert [layer.out_features for layer in network.layers[::2]] == [5, 6, 1]
    assert (network.rate_factor, network.adam_beta1) == (0.5, 0.1)
    latent = model.latent(mean, None, draws(4))
    expected = adversarial(mean, draws(4), adversary=network)
    torch.testing.assert_close(latent.adversary_loss, expected.adversary_loss)
    # the other networks begin as they would without it
    plain = Autoencoder(changed(objective="wae_mmd"), (8, 8, 1))
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)
