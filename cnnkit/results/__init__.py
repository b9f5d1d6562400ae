"""What commands find out, as frozen dataclasses: units are in the names. Nothing here prints; `cnnkit.render` does.

Each name is loaded from its module when first asked for: making a dataclass takes half a millisecond, and `predict`
needs three of them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnkit.results.benchmark import Benchmark as Benchmark
    from cnnkit.results.benchmark import BenchmarkedModel as BenchmarkedModel
    from cnnkit.results.benchmark import BenchmarkFailure as BenchmarkFailure
    from cnnkit.results.benchmark import BenchmarkStep as BenchmarkStep
    from cnnkit.results.benchmark import Measurement as Measurement
    from cnnkit.results.evaluation import CalibrationBin as CalibrationBin
    from cnnkit.results.evaluation import ClassMetrics as ClassMetrics
    from cnnkit.results.evaluation import Evaluation as Evaluation
    from cnnkit.results.explanation import Explanation as Explanation
    from cnnkit.results.explanation import FeatureMaps as FeatureMaps
    from cnnkit.results.explanation import Filters as Filters
    from cnnkit.results.explanation import GradCam as GradCam
    from cnnkit.results.explanation import IntegratedGradients as IntegratedGradients
    from cnnkit.results.explanation import Occlusion as Occlusion
    from cnnkit.results.export import ExportResult as ExportResult
    from cnnkit.results.export import ParityCertificate as ParityCertificate
    from cnnkit.results.graphs import ComparedRow as ComparedRow
    from cnnkit.results.graphs import GraphComparison as GraphComparison
    from cnnkit.results.graphs import GraphInput as GraphInput
    from cnnkit.results.graphs import GraphProfile as GraphProfile
    from cnnkit.results.graphs import GraphSummary as GraphSummary
    from cnnkit.results.graphs import NodeTime as NodeTime
    from cnnkit.results.inspection import LayerFailure as LayerFailure
    from cnnkit.results.inspection import LayerRow as LayerRow
    from cnnkit.results.inspection import ModelSummary as ModelSummary
    from cnnkit.results.inspection import ModuleRow as ModuleRow
    from cnnkit.results.installation import Check as Check
    from cnnkit.results.installation import Installation as Installation
    from cnnkit.results.listing import ModelInfo as ModelInfo
    from cnnkit.results.listing import ZooInfo as ZooInfo
    from cnnkit.results.mistakes import ConfusedPair as ConfusedPair
    from cnnkit.results.mistakes import LabelCandidate as LabelCandidate
    from cnnkit.results.mistakes import Mistake as Mistake
    from cnnkit.results.mistakes import Mistakes as Mistakes
    from cnnkit.results.mistakes import TrainingImage as TrainingImage
    from cnnkit.results.precision import LayerError as LayerError
    from cnnkit.results.precision import Measured as Measured
    from cnnkit.results.precision import OutOfRange as OutOfRange
    from cnnkit.results.precision import PrecisionReport as PrecisionReport
    from cnnkit.results.prediction import ClassScore as ClassScore
    from cnnkit.results.prediction import Prediction as Prediction
    from cnnkit.results.records import PredictionFile as PredictionFile
    from cnnkit.results.report import LeftOut as LeftOut
    from cnnkit.results.report import Origin as Origin
    from cnnkit.results.report import Report as Report
    from cnnkit.results.robustness import CorruptionCurve as CorruptionCurve
    from cnnkit.results.robustness import FlipSearch as FlipSearch
    from cnnkit.results.robustness import FooledImage as FooledImage
    from cnnkit.results.robustness import FoolingImage as FoolingImage
    from cnnkit.results.robustness import FoolingSearch as FoolingSearch
    from cnnkit.results.robustness import GradientAttack as GradientAttack
    from cnnkit.results.robustness import Robustness as Robustness
    from cnnkit.results.training import EpochRecord as EpochRecord
    from cnnkit.results.training import LoadNote as LoadNote
    from cnnkit.results.training import LoadProgress as LoadProgress
    from cnnkit.results.training import StartRecord as StartRecord
    from cnnkit.results.training import Step as Step
    from cnnkit.results.training import StepProgress as StepProgress
    from cnnkit.results.training import Steps as Steps
    from cnnkit.results.training import TrainingEvent as TrainingEvent
    from cnnkit.results.training import TrainingFinished as TrainingFinished
    from cnnkit.results.training import TrainingStarted as TrainingStarted
    from cnnkit.results.training import TrainingStopped as TrainingStopped
    from cnnkit.results.training import WorkProgress as WorkProgress
    from cnnkit.results.triton import TritonModel as TritonModel
    from cnnkit.results.tuning import TriedOptions as TriedOptions
    from cnnkit.results.tuning import TuningResult as TuningResult
    from cnnkit.results.verification import BatchParity as BatchParity
    from cnnkit.results.verification import Divergence as Divergence
    from cnnkit.results.verification import LayerParity as LayerParity
    from cnnkit.results.verification import Verification as Verification

_HOMES = {
    "ClassScore": "prediction",
    "Prediction": "prediction",
    "PredictionFile": "records",
    "LoadNote": "training",
    "LoadProgress": "training",
    "Step": "training",
    "Steps": "training",
    "WorkProgress": "training",
    "TrainingStarted": "training",
    "StartRecord": "training",
    "StepProgress": "training",
    "EpochRecord": "training",
    "TrainingFinished": "training",
    "TrainingStopped": "training",
    "TrainingEvent": "training",
    "CalibrationBin": "evaluation",
    "ClassMetrics": "evaluation",
    "Evaluation": "evaluation",
    "ParityCertificate": "export",
    "ExportResult": "export",
    "Explanation": "explanation",
    "FeatureMaps": "explanation",
    "Filters": "explanation",
    "GradCam": "explanation",
    "IntegratedGradients": "explanation",
    "Occlusion": "explanation",
    "ComparedRow": "graphs",
    "GraphComparison": "graphs",
    "GraphInput": "graphs",
    "GraphProfile": "graphs",
    "GraphSummary": "graphs",
    "NodeTime": "graphs",
    "BatchParity": "verification",
    "Divergence": "verification",
    "LayerParity": "verification",
    "Verification": "verification",
    "ConfusedPair": "mistakes",
    "LabelCandidate": "mistakes",
    "Mistake": "mistakes",
    "Mistakes": "mistakes",
    "TrainingImage": "mistakes",
    "LayerError": "precision",
    "Measured": "precision",
    "OutOfRange": "precision",
    "PrecisionReport": "precision",
    "TritonModel": "triton",
    "LayerFailure": "inspection",
    "LayerRow": "inspection",
    "ModelSummary": "inspection",
    "ModuleRow": "inspection",
    "Benchmark": "benchmark",
    "BenchmarkedModel": "benchmark",
    "BenchmarkFailure": "benchmark",
    "BenchmarkStep": "benchmark",
    "Measurement": "benchmark",
    "ZooInfo": "listing",
    "ModelInfo": "listing",
    "Check": "installation",
    "Installation": "installation",
    "LeftOut": "report",
    "Origin": "report",
    "Report": "report",
    "CorruptionCurve": "robustness",
    "FlipSearch": "robustness",
    "FooledImage": "robustness",
    "FoolingImage": "robustness",
    "FoolingSearch": "robustness",
    "GradientAttack": "robustness",
    "Robustness": "robustness",
    "TriedOptions": "tuning",
    "TuningResult": "tuning",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cnnkit.results' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"cnnkit.results.{_HOMES[name]}"), name)
