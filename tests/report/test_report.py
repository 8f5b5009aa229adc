"""The report: self-contained, complete, honest."""

import base64
import html.parser
import io
import re

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayescg as bcg
from bayescg import report
from bayescg.posterior import from_coefficients
from bayescg.report import Results, outcomes, page, sections


class Reader(html.parser.HTMLParser):
    """Collects what a browser would ask for, and checks that tags are closed."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text):
        super().__init__()
        self.links, self.images, self.headings, self.open, self.alt = [], [], [], [], []
        self.feed(text)
        assert self.open == [], f"tags left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "img":
            self.images.append(attrs["src"])
            self.alt.append(attrs["alt"])
        self.links += [attrs[name] for name in ("src", "href") if name in attrs and tag != "img"]
        assert tag not in ("script", "link", "iframe")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h2", "h3"):
            self.headings.append(data)


def summary(level, draws, dims=True, seed=0):
    rng = np.random.default_rng(seed)
    shape = ((draws,) if draws else ()) + (5,) + ((30,) if dims else ())
    names = (("draw",) if draws else ()) + ("block",) + (("r",) if dims else ())
    array = xr.DataArray(level + 0.1 * rng.normal(size=shape), dims=names, name="rdf" if dims else "n")
    if dims:
        array = array.assign_coords(r=("r", np.linspace(0.1, 0.9, 30), {"units": "nm"}))
    return bcg.observables.summarize(array.assign_attrs(long_name="g(r) A-A" if dims else "neighbors", units="1"))


@pytest.fixture(scope="module")
def results():
    rng = np.random.default_rng(0)
    potential = bcg.Potential(bcg.Pair("A", "A", cutoff=0.9))
    values = {"lengthscale_A-A": rng.lognormal(size=(2, 50)), "noise_A": rng.lognormal(size=(2, 50))}
    attrs = {
        "temperature": 300.0,
        "method": "nuts",
        "n_frames": 12,
        "held_out_r2": 0.5,
        "held_out_r2_se": 0.01,
        "noise_ceiling_r2": "unknown",
        "elpd": -100.0,
        "elpd_se": 5.0,
        "pareto_k_max": 0.3,
        "log_evidence": -120.0,
        "rhat_max": 1.3,
        "ess_bulk_min": 50.0,
        "ess_tail_min": 500.0,
        "divergences": 3,
        "residual_variance": '{"A": 4.0}',
        "misfit": "Model misfit is <outside> of them.",
    }
    groups = {
        "prior": xr.Dataset({n: (("chain", "draw"), v[:1]) for n, v in values.items()}),
        "constant_data": xr.Dataset({"force_variance": ("noise_class", [9.0])}, {"noise_class": ["A"]}),
    }
    tree = bcg.posterior.build(
        potential, rng.normal(size=(2, 50, 90)), values, groups, ranges={"A-A": (0.3, 0.9)}, attrs=attrs
    )
    ensemble = xr.Dataset(
        {
            "temperature": (("draw", "frame"), np.full((4, 10), 301.0)),
            "configurational_temperature": ("draw", np.array([299.0, 300.0, 301.0, np.nan])),
            "out_of_range": (("draw", "term", "side"), np.full((4, 1, 2), 2e-5)),
            "failed": ("draw", [False, False, False, True]),
        },
        {"term": ["A-A"], "side": ["below", "above"]},
        {"engine": "jax", "temperature": 300.0, "dynamics": '{"timestep": 0.002, "friction": 1.0, "interval": 0.2}'},
    )
    compared = (
        report.Compared("rdf", "A-A", summary(1.0, 4), summary(2.0, 0, seed=1)),
        report.Compared("coordination_number", "A-A", summary(5.0, 4, dims=False), summary(5.0, 0, dims=False, seed=2)),
    )
    return report.Results(
        *(tree, ensemble, compared, {"lammps": ["lammps/pair.table"]}, "seed: 1 # <b>"),
        warnings={"fit": ["chains disagree"]},
        seconds={"fit": 12.0},
        beads={"A": 64},
    )


@pytest.fixture(scope="module")
def text(results, tmp_path_factory):
    path = report.write(results, tmp_path_factory.mktemp("report") / "report.html", meta={"made-by": "a test"})[0]
    return path.read_text()


def test_nothing_is_asked_from_anywhere(text):
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    reader = Reader(text)
    assert all(link.startswith("#") for link in reader.links)
    for link in reader.links:
        assert f'id="{link[1:]}"' in text


def test_images_decode(text):
    reader = Reader(text)
    assert len(reader.images) == 5
    for source in reader.images:
        kind, data = source.split(",", 1)
        assert kind == "data:image/png;base64"
        pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(data)))
        assert min(pixels.shape[:2]) > 200
        assert pixels[..., :3].std() > 0.01
    assert all(len(words) > 20 for words in reader.alt)


def test_all_sections_are_there(text):
    expected = {
        *("Potential", "Observables", "What these error bars do not cover", "Fit", "Simulation"),
        *("Data", "Exports", "Reproducibility", "Warnings", "Hyperparameters", "Configuration", "Versions"),
    }
    assert expected <= set(Reader(text).headings)


def test_plain_words(text):
    words = re.sub(r"<[^>]+>", " ", text)
    assert "chains disagree: run longer" in words
    assert "few: run longer" in words
    assert "a corner of the posterior was missed" in words
    assert "0.5000 ± 0.0100" in words
    assert "unknown" in words
    assert "lower bound" in words
    assert "Model misfit is &lt;outside&gt; of them." in text
    assert "seed: 1 # &lt;b&gt;" in text
    assert "1 of 4" in words
    assert "300.0 K (299.0 to 301.0)" in words


def test_misfit_is_said_of_the_observable_that_misses_only(results, text):
    rdf, number = results.observables
    assert rdf.mean_abs_z > 5
    box = outcomes.misfit([(each.title, each.mean_abs_z) for each in (rdf, number)])
    assert box.count("<li>") == 1
    assert rdf.title in box
    assert text.count("more data will not help") == 1
    assert outcomes.misfit([("g(r)", 1.9), ("n", float("nan"))]) == ""


def test_integrated_difference(results):
    # A constant difference of about one over 0.8 nm.
    assert results.observables[0].difference == pytest.approx(0.8, rel=0.05)
    assert results.observables[1].difference < 0.2


def test_headline(results):
    rows = report.headline(results)
    assert rows["held-out force R²"] == "0.500 ± 0.010"
    assert rows["divergences"] == "3"
    assert rows["temperature"] == "301.0 K of 300 K"
    assert report.headline(report.Results()) == {}


def test_scores_that_are_not_known_are_no_numbers(results, tmp_path):
    tree = results.posterior.copy()
    missing = dict.fromkeys(("held_out_r2", "held_out_r2_se", "elpd", "elpd_se", "pareto_k_max"), float("nan"))
    tree["posterior"].attrs = {**tree["posterior"].attrs, **missing}
    text = report.write(report.Results(posterior=tree), tmp_path / "report.html")[0].read_text()
    assert text.count("<td>unknown</td>") >= 2
    assert "nan" not in re.sub(r"<[^>]+>", " ", re.sub(r'src="[^"]+"', "", text)).split()


def test_a_given_posterior_alone_makes_a_report(tmp_path):
    potential = bcg.Potential(bcg.Pair("A", "A", cutoff=0.9))
    tree = bcg.posterior.from_coefficients(potential, np.zeros((3, potential.n_basis)), temperature=300.0)
    text = report.write(report.Results(posterior=tree), tmp_path / "report.html")[0].read_text()
    assert "Potential" in Reader(text).headings
    assert "Simulation" not in Reader(text).headings


def test_figures_are_written_too(results, tmp_path):
    report.write(results, tmp_path / "report.html", figures=tmp_path / "figures")
    names = ("potential", "prior_posterior", "trace", "rdf_A-A", "coordination_number_A-A")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{name}.{ending}" for name in names for ending in ("png", "pdf", "csv")
    }
    # The numbers of a figure are those of the observable.
    table = pd.read_csv(tmp_path / "figures" / "rdf_A-A.csv")
    curve = table[(table["panel"] == 0) & (table["curve"] == "coarse-grained")]
    np.testing.assert_allclose(curve["y"], results.observables[0].predicted["mean"], rtol=1e-6)
    band = table[table["curve"] == "90 % posterior and sampling"]
    np.testing.assert_allclose(band["y"], results.observables[0].predicted["lower"], rtol=1e-6)
    np.testing.assert_allclose(band["y upper"], results.observables[0].predicted["upper"], rtol=1e-6)
    assert set(curve["x label"]) == {"r (nm)"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((0.12345678, "0.1235"), (float("nan"), "–"), (-3.0, "−3"), (123456.7, "123457")),
        (2.5e-6, "2.5 × 10<sup>−6</sup>"),
    ],
)
def test_numbers(value, shown):
    assert page.text(value) == shown


def test_hyperparameters_in_the_tail_of_their_prior_are_named():
    rng = np.random.default_rng(0)
    prior = xr.Dataset({name: (("chain", "draw"), rng.lognormal(size=(1, 500))) for name in ("a", "b")})
    found = {"a": np.full((2, 50), 40.0), "b": rng.lognormal(size=(2, 50))}
    posterior = xr.Dataset({name: (("chain", "draw"), values, {"units": "nm"}) for name, values in found.items()})
    tree = xr.DataTree.from_dict({"posterior": posterior, "prior": prior})
    assert sections.in_the_tail(tree, ["a", "b", "not there"]) == [
        "a: median 40 nm; 0 of 500 draws of the prior lie above it"
    ]


def test_the_caption_counts_draws_that_attract():
    potential = bcg.Potential(bcg.Pair("A", "A", 0.9, knot_spacing=0.03))
    term = potential.terms[0]
    repulsive = np.exp(-term.spline.knots[: term.n_basis] / 0.1)
    attractive = -repulsive
    sampled = {"A-A": (0.3, 0.9)}
    for draws, words in (
        ([repulsive] * 4, "below the sampled distances every draw is repulsive"),
        ([repulsive] * 3 + [attractive], "25.0% of the draws of A-A attract somewhere"),
    ):
        tree = from_coefficients(potential, np.array(draws), temperature=300.0, ranges=sampled)
        assert words in sections.potential(Results(posterior=tree), {"potential": b""})
    unknown = from_coefficients(potential, repulsive, temperature=300.0)
    assert "below the sampled" not in sections.potential(Results(posterior=unknown), {"potential": b""})


@pytest.mark.parametrize(("worth", "said"), [(31.4, True), (120.0, False)])
def test_frames_are_worth_what_their_weights_say(worth, said):
    posterior = bcg.posterior.from_coefficients(
        bcg.Potential(bcg.Pair("A", "A", 0.9)), np.zeros((4, bcg.Pair("A", "A", 0.9).n_basis)), temperature=300.0
    )
    posterior["posterior"].attrs.update(n_frames=120, effective_frames=worth)
    assert ("31.4 frames of equal weight" in sections.data(Results(posterior=posterior))) == said
