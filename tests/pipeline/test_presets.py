"""Presets: those of the Torch7 experiment have its settings, and invalid ones are refused."""

import re

import click
import pytest

from common.commands import CONTEXT
from model.errors import InputError
from model.language_model.character_model import CharacterModel
from model.language_model.config import ModelConfig
from pipeline import options
from pipeline.preset_files import load_preset, preset_names
from pipeline.stages import graph
from pipeline.training.weight_updates import make_optimizer


@pytest.mark.parametrize("kind,layers", [("stacked", 3), ("stacked", 6), ("grid", 3), ("grid", 6)])
def test_torch7_presets(kind, layers):
    data, model, training, run, *_ = load_preset(f"enwik8-{kind}{layers}")
    assert run.corpus == ("enwik8",)
    assert (model.architecture, model.layers, model.units, model.dropout) == (
        kind,
        layers,
        1000,
        0.25,
    )
    assert (model.init_scale, model.forget_bias) == (0.08, 1.0)
    assert kind == "stacked" or (model.tied, model.depth_priority) == ("depth", True)
    assert (training.batch_size, training.window, training.clip_value) == (50, 50, 5.0)
    assert (training.decay_rate, training.decay_after, data.train_fraction) == (0.97, 10, 0.95)
    optimizer = make_optimizer(training, 100, 1000)
    assert (type(optimizer).__name__, optimizer.rho) == ("RMSprop", 0.95)


@pytest.mark.parametrize(
    "tied,parameters",
    [("none", 2 * 2 * (16 * 32 + 32)), ("depth", 3 * (16 * 32 + 32)), ("all", 2 * (16 * 32 + 32))],
)
def test_tying_shares_parameters(tied, parameters):
    model = CharacterModel(ModelConfig(layers=2, units=8, tied=tied), 5)
    outside = 6 * 16 + 8 * 5 + 5
    assert model.count_params() == parameters + outside


def test_every_preset_loads():
    assert "demo" in preset_names()
    for name in preset_names():
        load_preset(name)


@pytest.mark.parametrize(
    "text,problem",
    [
        ("[model]\nlairs = 3\n", "unknown parameter lairs in [model]; did you mean layers?"),
        ("[modell]\n", "unknown section [modell]; did you mean model?"),
        ("[run]\ncorpsu = 'a'\n", "unknown parameter corpsu in [run]; did you mean corpus?"),
        ("[serving]\nmax_batch = 1\n", "unknown parameter max_batch in [serving]; did you mean"),
        ("[model]\nlayers = 'two'\n", "layers in [model] is 'two'; it must be int"),
        ("[model]\narchitecture = 'gird'\n", "it must be 'grid' or 'stacked'"),
        ("[data]\nnormalize = 1\n", "normalize in [data] is 1; it must be bool"),
        ("data = 3\n", "it must be a section [data]"),
        ("base = 'dmeo'\n", "there is no preset dmeo; did you mean demo?"),
        ("base = 3\n", "base is 3; it must be the name of a preset"),
        ("base = 'mine.toml'\n", "is its own base: mine.toml -> mine.toml; remove one `base`"),
        ("model = [", "is no TOML file"),
    ],
)
def test_a_wrong_preset_is_refused(tmp_path, text, problem):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(problem)) as raised:
        load_preset(str(path))
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


# The file is not named, as options of a command may have set the values.
@pytest.mark.parametrize(
    "text,problem",
    [
        ("[serving]\nmax_batch_size = 0\n", "max_batch_size is 0; it must be at least 1"),
        ("[run]\neval_batch_size = 0\n", "eval_batch_size is 0; it must be at least 1"),
        ("[run]\neval_batch_size = 1000000000\n", "eval_batch_size is 1000000000; it must be"),
        ("[training]\nseed = 5000000000\n", "seed is 5000000000; it must be at least 0 and below"),
        ("[training]\nsample_length = 20000\n", "sample_length is 20000; it must be at least 0"),
        ("[training]\nlearning_rate = nan\n", "learning_rate is nan; it must be finite"),
        ("[training]\nclip_norm = inf\n", "clip_norm is inf; it must be finite"),
        ("[model]\ninit_scale = nan\n", "init_scale is nan; it must be at least 0"),
        ("[model]\nforget_bias = nan\n", "forget_bias is nan; it must be finite"),
        ("[data]\nshards = 200000\n", "shards is 200000; it must be from 1 to 100,000"),
        (
            "[model]\narchitecture = 'stacked'\ntied = 'all'\n",
            "tied needs the architecture grid, and the architecture is stacked; leave it out",
        ),
    ],
)
def test_a_wrong_value_is_refused(tmp_path, text, problem):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(problem)) as raised:
        load_preset(str(path))
    assert "\n" not in str(raised.value)


def write_presets(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    return str(folder / f"{next(iter(texts))}.toml")


def test_a_preset_inherits_from_its_base(tmp_path):
    path = write_presets(
        tmp_path,
        mine="base = 'middle.toml'\n[model]\nlayers = 5\n[serving]\nmax_batch_size = 8\n",
        middle="base = 'demo'\n[model]\nlayers = 4\nunits = 64\n[run]\nprompt = 'a'\n",
    )
    demo, mine = load_preset("demo"), load_preset(path)
    assert (mine.model.layers, mine.model.units) == (5, 64)
    assert mine.training == demo.training and mine.run.prompt == "a"
    assert mine.serving.batching == {"max_batch_size": 8} and demo.serving.batching == {}
    assert load_preset(path, {"layers": 2, "units": None}).model.layers == 2


def test_presets_that_are_based_on_each_other_are_refused(tmp_path):
    path = write_presets(
        tmp_path, a="base = 'b.toml'\n", b="base = 'c.toml'\n", c="base = 'b.toml'"
    )
    with pytest.raises(InputError, match=r"b\.toml -> c\.toml -> b\.toml; remove one `base`"):
        load_preset(path)


def test_sections_of_a_run_and_of_serving_are_read(tmp_path):
    path = write_presets(
        tmp_path,
        mine="[run]\ncorpus = ['a', 'b']\nmixture_weights = [1, 2.5]\nmodel_name = 'm'\n"
        "[serving]\nbatch_timeout_micros = 0\n",
    )
    settings = load_preset(path)
    assert settings.run.corpus == ("a", "b") and settings.run.mixture_weights == (1, 2.5)
    assert settings.serving.batching == {"batch_timeout_micros": 0}


def context_of(*arguments):
    """The context that the options of `run` make."""
    found = []
    options_of_run = options.all_options(graph.STAGES)
    command = options.context_of(options_of_run, takes_corpus=True, lock=False)(found.append)
    click.command(context_settings=CONTEXT)(command).main(
        list(map(str, arguments)), standalone_mode=False
    )
    return found[0]


def test_options_take_precedence_over_a_preset(tmp_path):
    path = write_presets(
        tmp_path,
        mine="[run]\ncorpus = ['a', 'b']\nmixture_weights = [1, 2]\nsample_characters = 9\n"
        "[serving]\nmax_batch_size = 8\n",
    )
    run = context_of("--preset", path).settings.run
    assert (run.corpus, run.mixture_weights, run.sample_characters) == (("a", "b"), (1, 2), 9)
    context = context_of(
        "--preset", path, "--corpus", "c", "--sample_characters", 0, "--max-batch-size", 4,
        "--devices", "cpu:0,cpu:1",
    )  # fmt: skip
    run = context.settings.run
    assert (run.corpus, run.mixture_weights, run.sample_characters) == (("c",), (), 0)
    assert context.settings.serving.batching == {"max_batch_size": 4}
    assert context.devices == ("cpu:0", "cpu:1")
    context = context_of(
        "--corpus", "a", "--mixture_weights", 3, "--corpus", "b", "--mixture_weights", 1
    )
    assert context.settings.run.mixture_weights == (3.0, 1.0) and context.devices == ()


def test_what_only_grids_have_does_not_count_for_another_architecture():
    assert load_preset("demo").model.layer_normalization
    stacked = load_preset("demo", {"architecture": "stacked"})
    assert not stacked.model.layer_normalization
    with pytest.raises(InputError, match="layer_normalization needs the architecture grid"):
        load_preset("demo", {"architecture": "stacked", "layer_normalization": True})


def test_a_preset_of_another_architecture_inherits_nothing_that_only_grids_have(tmp_path):
    path = write_presets(tmp_path, mine='base = "demo"\n[model]\narchitecture = "rhn"\n')
    found = load_preset(str(path)).model
    assert found.architecture == "rhn" and not found.layer_normalization and found.units == 128
