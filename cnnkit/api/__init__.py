"""The same from Python as from the command line; `cnnkit` re-exports these names lazily."""

from cnnkit.api.classifying import DEFAULT_CLASSIFIER as DEFAULT_CLASSIFIER
from cnnkit.api.classifying import load as load
from cnnkit.api.classifying import load_on_ray as load_on_ray
from cnnkit.api.measuring import benchmark as benchmark
from cnnkit.api.measuring import benchmark_steps as benchmark_steps
from cnnkit.api.measuring import evaluate as evaluate
from cnnkit.api.measuring import evaluation_steps as evaluation_steps
from cnnkit.api.measuring import summarize as summarize
from cnnkit.api.measuring import tune as tune
from cnnkit.api.proving import export as export
from cnnkit.api.proving import export_triton as export_triton
from cnnkit.api.proving import verification_steps as verification_steps
from cnnkit.api.proving import verify as verify
from cnnkit.api.training import create_model as create_model
from cnnkit.api.training import default_recipe as default_recipe
from cnnkit.api.training import run_recipe as run_recipe
from cnnkit.api.training import train as train
from cnnkit.api.training import train_events as train_events
