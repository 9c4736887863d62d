"""Model spec -> revision: validators, endpoints and the OpenAPI fragment of one model.

The story is in `compiler`. Owns what requests to a model may say and what they are answered; does
not own routing to models (gateway), rows (store) nor the modelling language (pim).
"""

from watcherd.compile.access import Seeds
from watcherd.compile.bodies import InvalidDefaultError
from watcherd.compile.compiler import compile_model
from watcherd.compile.openapi import describe
from watcherd.compile.openapi_shared import PROBLEM_SCHEMA
from watcherd.compile.options import Options

__all__ = ["PROBLEM_SCHEMA", "InvalidDefaultError", "Options", "Seeds", "compile_model", "describe"]
