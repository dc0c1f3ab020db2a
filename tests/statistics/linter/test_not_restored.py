"""`kreg.check` on a loaded model whose regularizers could not be put back."""

import keras
import pytest
from keras import layers

import kreg


def bent(w):
    return keras.ops.sum(keras.ops.sqrt(abs(w)))


def network():
    model = keras.Sequential(
        [keras.Input((4,)), layers.RMSNormalization(name="norm")], name="net"
    )
    kreg.attach(model, [("net/norm/scale", kreg.Scheduled(bent, 0.1))])
    return model


def loaded(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.saving.load_model(tmp_path / "model.keras")


@pytest.mark.filterwarnings("ignore:Regularizers from `kreg.attach`")
def test_unknown_function_is_found(tmp_path):
    (finding,) = kreg.check(loaded(network(), tmp_path))
    assert finding.rule == "not-restored"
    assert finding.path.endswith("norm/scale")
    assert "'bent'" in finding.message
    assert "custom_object_scope" in finding.fix


def test_known_function_is_no_finding(tmp_path):
    with keras.saving.custom_object_scope({"bent": bent}):
        assert kreg.check(loaded(network(), tmp_path)) == ()


@pytest.mark.filterwarnings("ignore:Regularizers from `kreg.attach`")
def test_what_is_attached_again_is_no_finding(tmp_path):
    model = loaded(network(), tmp_path)
    kreg.attach(model, [(model.weights[0], kreg.L1(0.1))])
    assert kreg.check(model) == ()
