"""A packed figure is the figure, to the digits that can be seen."""

import numpy as np
import plotly.graph_objects as go

from mechgrok.reports.packing import pack, unpack


def test_arrays_come_back_in_their_shapes_and_whole_numbers_exactly() -> None:
    steps = np.array([0.0, 12_270.0, 30_000.0])
    mask = np.array([[0, 1, 1], [1, 0, 0]], dtype=np.uint8)
    big = np.array([2.0**24 + 1])
    figure = unpack(
        pack(go.Figure([go.Scatter(x=steps, y=[1, None]), go.Heatmap(z=mask), go.Scatter(x=big)]))
    )
    curve, picture, far = figure["data"]
    assert curve["x"].tolist() == steps.tolist()
    assert curve["y"] == [1, None]
    assert picture["z"].tolist() == mask.tolist()
    assert picture["z"].dtype == np.uint8
    assert far["x"].tolist() == big.tolist()


def test_other_numbers_keep_four_digits() -> None:
    values = np.append(
        np.random.default_rng(0).normal(size=1000) * 10.0 ** np.arange(-30, 20, 0.05), np.nan
    )
    back = unpack(pack(go.Figure(go.Scatter(y=values))))["data"][0]["y"]
    assert np.isnan(back[-1])
    np.testing.assert_allclose(back[:-1], values[:-1], rtol=2.0**-14)


def test_a_frame_that_shows_what_the_figure_opens_with_costs_nothing() -> None:
    y = np.random.default_rng(0).normal(size=30_000)
    alone = go.Figure(go.Bar(y=y))
    framed = go.Figure(go.Bar(y=y), frames=[go.Frame(data=[go.Bar(y=y)], name="10")])
    (frame,) = unpack(pack(framed))["frames"]
    np.testing.assert_allclose(frame["data"][0]["y"], y, rtol=2.0**-14)
    assert len(pack(framed)) < len(pack(alone)) + 300


def test_noise_of_many_steps_takes_less_than_half_of_its_json() -> None:
    noise = np.random.default_rng(0).normal(size=(20, 100, 100))
    figure = go.Figure(frames=[go.Frame(data=[go.Heatmap(z=z)]) for z in noise])
    assert len(pack(figure)) < len(figure.to_json()) / 2
