"""The steps, plan ▶ extract ▶ stage ▶ copy ▶ upsert ▶ summarize, and what they share."""

from tasks.copy_in import copy
from tasks.extract import extract
from tasks.plan_batch import plan
from tasks.stage import stage
from tasks.step import in_place, with_retries
from tasks.upsert import upsert

__all__ = ["copy", "extract", "in_place", "plan", "stage", "upsert", "with_retries"]
