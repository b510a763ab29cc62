"""Where part files wait for the warehouse: `STAGES` is the one list of the kinds."""

from blocks.stage import Stage
from blocks.stages.folder import FolderStage
from blocks.stages.s3 import S3Stage

STAGES: tuple[type[Stage], ...] = (S3Stage, FolderStage)
"""Every kind of stage; the contract tests run over all of them."""

__all__ = ["STAGES", "FolderStage", "S3Stage"]
