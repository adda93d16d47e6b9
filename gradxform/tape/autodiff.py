"""``tf.autodiff``: where TensorFlow keeps its accumulators of forward mode."""

from gradxform.tape.forward import ForwardAccumulator

__all__ = ["ForwardAccumulator"]
