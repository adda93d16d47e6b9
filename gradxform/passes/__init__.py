"""Program -> Program, with the same meaning: one pass a file, all of them in the order of pipeline.PASSES."""

from gradxform.passes.pipeline import PASSES, PassRecord, describe, optimise
from gradxform.passes.rewriting import Vocabulary

__all__ = ["PASSES", "PassRecord", "Vocabulary", "describe", "optimise"]
