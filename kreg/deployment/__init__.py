"""Deploying a model: `export`, and `deploy_report` for its costs."""

from kreg.deployment._costs import Latency
from kreg.deployment._deploy_report import deploy_report
from kreg.deployment._export import ExportRecord, export
from kreg.deployment._report import DeployReport, ModelFigures

__all__ = [
    "DeployReport",
    "ExportRecord",
    "Latency",
    "ModelFigures",
    "deploy_report",
    "export",
]
