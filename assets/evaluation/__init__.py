"""How good the analyses' models are on real data, by fixed protocols. `energy evaluate` is its command.

Importing this package loads no machine learning library.
"""

from assets.evaluation.cases import Case, Evaluation, NoCases
from assets.evaluation.run import evaluate, find_cases

__all__ = ["Case", "Evaluation", "NoCases", "evaluate", "find_cases"]
