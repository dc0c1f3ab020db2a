"""A real TensorBoard shows what the monitor logged in a real `fit`."""

import json
import urllib.parse
import urllib.request

import keras
import numpy as np
import pytest
from event_files import events
from PIL import Image
from tensorboard_tab.page_reading import (
    choose,
    legend_value,
    lines,
    table_column,
)
from tensorboard_tab.servers import serve, wait_until

import kreg

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]

PATHS = ["hidden/kernel", "hidden/bias", "last/kernel", "last/bias"]


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory):
    """The log of a sweep of two runs."""
    folder = tmp_path_factory.mktemp("sweep")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 8))
    y = x[:, :1] - x[:, 1:2]
    for strength in (0.01, 0.1):
        keras.utils.set_random_seed(0)
        ramp = kreg.schedules.LinearRamp(0.0, strength, steps=20)
        model = keras.Sequential(
            [
                keras.Input((8,)),
                keras.layers.Dense(
                    6, kernel_regularizer=kreg.L1(ramp), name="hidden"
                ),
                keras.layers.Dense(
                    1, kernel_regularizer=kreg.L2(strength), name="last"
                ),
            ]
        )
        adam = keras.optimizers.Adam(0.02)
        model.compile(kreg.ProximalOptimizer(adam), "mse")
        monitor = kreg.RegularizationMonitor(
            folder / f"run-{strength}",
            2,
            histogram_freq=5,
            image_freq=5,
            hparams={"strength": strength},
        )
        model.fit(
            x,
            y,
            batch_size=8,
            epochs=5,
            validation_split=0.25,
            verbose=0,
            callbacks=[monitor],
        )
    return folder


@pytest.fixture(scope="module")
def written(log_dir):
    return events(log_dir / "run-0.1" / "train")


@pytest.fixture(scope="module")
def server(log_dir):
    with serve(log_dir) as url:
        wait_until(lambda: len(runs(url)) == 2, seconds=60)
        yield url


def get(server, path, data=None, **query):
    url = f"{server}/data/{path}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(url, data=data)
    if data is not None and data[:1] == b"{":
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def runs(server):
    tags = get(server, "plugin/scalars/tags")
    return [run for run in tags if any(t.startswith("kreg") for t in tags[run])]


def test_server_lists_every_curve(server, written):
    listed = get(server, "plugin/scalars/tags")["run-0.1/train"]
    others = ("custom_", "kreg/model", "kreg/summary", "kreg_hist", "kreg_im")
    curves = {tag for tag in written if not tag.startswith(others)}
    assert set(listed) == curves
    assert {f"kreg_sparsity/{path}" for path in PATHS} <= curves


@pytest.mark.parametrize(
    "tag",
    [
        "kreg/sparsity",
        "kreg/data_loss",
        "kreg/generalization_gap",
        "kreg_l2_norm/hidden/kernel",
        "kreg_strength/hidden/kernel",
        "kreg_layer_l1_norm/last",
    ],
)
def test_server_returns_the_values(tag, server, written):
    path, run = "plugin/scalars/scalars", "run-0.1/train"
    series = get(server, path, run=run, tag=tag)
    assert [(step, value) for _, step, value in series] == written[tag]


def test_custom_scalars_layout_is_one_for_all_runs(server):
    layout = get(server, "plugin/custom_scalars/layout")
    (category,) = layout["category"]
    titles = [chart["title"] for chart in category["chart"]]
    assert titles[:3] == ["Sparsity", "Strength", "Data loss and penalty"]
    assert len(set(titles)) == len(titles)


def test_summary_is_a_page_of_text(server):
    texts = get(
        server,
        "plugin/text/text",
        run="run-0.1/train",
        tag="kreg/summary",
    )
    assert "<table>" in texts[0]["text"]
    assert "hidden/kernel" in texts[0]["text"]


def test_histograms_and_images(server):
    run = "run-0.1/train"
    tag = "kreg_histogram/hidden/kernel"
    ((_, step, buckets),) = get(
        server, "plugin/histograms/histograms", run=run, tag=tag
    )
    assert step == 30
    assert sum(count for *_, count in buckets) == 48
    tag = "kreg_image/hidden/kernel"
    (image,) = get(server, "plugin/images/images", run=run, tag=tag, sample=0)
    assert image["step"] == 30
    url = f"{server}/data/plugin/images/individualImage?{image['query']}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert Image.open(answer).size == (6, 8)


def test_sweep_is_on_the_hparams_page(server, written):
    experiment = get(server, "plugin/hparams/experiment", data=b"{}")
    metric = {"group": "train", "tag": "kreg/sparsity"}
    assert metric in [info["name"] for info in experiment["metricInfos"]]
    wanted = {
        "allowedStatuses": ["STATUS_SUCCESS"],
        "colParams": [{"metric": metric}],
        "sliceSize": 10,
    }
    groups = get(
        server,
        "plugin/hparams/session_groups",
        data=json.dumps(wanted).encode(),
    )["sessionGroups"]
    strengths = sorted(group["hparams"]["strength"] for group in groups)
    assert strengths == pytest.approx([0.01, 0.1])
    (strong,) = [g for g in groups if g["hparams"]["strength"] > 0.05]
    values = {
        v["name"]["tag"]: v["value"]
        for v in strong["metricValues"]
        if v["name"]["group"] == "train"
    }
    assert values["kreg/sparsity"] == written["kreg/sparsity"][-1][1]


def test_custom_scalars_page_has_every_weight_in_one_chart(
    page, server, written
):
    page.goto(f"{server}/?smoothing=0#custom_scalars")
    card = page.locator("tf-custom-scalar-multi-line-chart-card").first
    plot = card.locator("svg").first
    plot.wait_for(state="visible")
    table = page.locator("table").first  # beside the card, in the body

    def shown():
        """What the pointer shows: `{"tag (run)": (value, step)}`."""
        box = plot.bounding_box()
        x = box["x"] + 0.9 * box["width"]
        page.mouse.move(x, box["y"] + 100)
        page.mouse.move(x + 1, box["y"] + 101)
        rows = [line.split("\t") for line in table.inner_text().splitlines()]
        return {r[1].strip(): (r[3], r[4]) for r in rows if len(r) > 4}

    names = {f"kreg_sparsity/{path} (run-0.1/train)" for path in PATHS}
    wait_until(lambda: names <= set(shown()), seconds=60)
    for name in names:
        value, step = shown()[name]
        known = dict(written[name.split(" ")[0]])
        assert float(value) == pytest.approx(known[int(step)], rel=1e-3)


def test_tab_shows_the_values_of_the_event_file(page, server, written):
    page.goto(f"{server}/data/plugin_entry.html?name=kreg")
    choose(page, "run", "run-0.1/train")
    wait_until(lambda: sorted(lines(page, "sparsity")) == sorted(PATHS))
    for path in PATHS:
        expected = written[f"kreg_sparsity/{path}"][-1][1]
        assert legend_value(page, path) == pytest.approx(expected)
    shown = [float(value) for value in table_column(page, "l2_norm")]
    expected = [written[f"kreg_l2_norm/{path}"][-1][1] for path in PATHS]
    for value in expected:
        assert any(value == pytest.approx(number) for number in shown)


def test_tab_is_on_tensorboards_bar(page, server):
    page.goto(f"{server}/#kreg")
    page.wait_for_selector("text=kreg")
    frame = page.frame_locator("iframe")
    frame.locator("[data-chart=sparsity] .lines path.line").first.wait_for(
        state="attached"
    )
