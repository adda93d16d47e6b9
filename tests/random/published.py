"""Numbers that jax.random of JAX 0.10.2 gives for jax.random.PRNGKey(42), with 64-bit types enabled and its defaults.

They were printed by JAX, not by the code under test.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """A call, which gets the key as its first argument, and what JAX gives for it."""

    call: tuple[str, tuple[Any, ...], dict[str, Any]]
    dtype: type
    values: Any


def call(name: str, *args: Any, **kwargs: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    return name, args, kwargs


SEEDS = (
    (0, [0, 0]),
    (1, [0, 1]),
    (-1, [4294967295, 4294967295]),
    (-5, [4294967295, 4294967291]),
    (2**40 + 7, [256, 7]),
    (2**63 - 1, [2147483647, 4294967295]),
    (-2**63, [2147483648, 0]),
    (np.int32(-7), [0, 4294967289]),
    (np.uint32(2**32 - 1), [0, 4294967295]),
    (np.int64(-9), [4294967295, 4294967287]),
    (np.uint8(200), [0, 200]),
    (np.int8(-3), [0, 4294967293]),
)

SPLIT = [[1832780943, 270669613], [64467757, 2916123636]]
SPLIT_2_2 = [[[1832780943, 270669613], [64467757, 2916123636]], [[2465931498, 255383827], [3134548294, 894150801]]]
FOLDED = {0: [1832780943, 270669613], 17: [2702347784, 925058353], 4294967295: [2398536845, 3890976714]}

#: These equal JAX's bit for bit.
EXACT = (
    Case(call('bits', (5,), np.uint8), np.uint8, [162, 217, 249, 215, 21]),
    Case(call('bits', (5,), np.uint16), np.uint16, [5026, 12505, 63993, 49623, 29461]),
    Case(call('bits', (5,), np.uint32), np.uint32, [2098992034, 2919706841, 2646866425, 2409546199, 1935504149]),
    Case(call('bits', (5,), np.uint64), np.uint64, [7871734211187709741, 276886910877598708, 10591095138341673235,
         13462782411356743825, 12687676868490354166]),
    Case(call('bits', (2, 3)), np.uint64, [[7871734211187709741, 276886910877598708, 10591095138341673235],
         [13462782411356743825, 12687676868490354166, 11878554724538143822]]),
    Case(call('uniform', (4,), np.float32), np.float32, [0.48870957, 0.6797972, 0.6162715, 0.5610161]),
    Case(call('uniform', (4,), np.float64), np.float64, [0.4267275666499091, 0.015010069515314584, 0.5741444178995352,
         0.7298188969046309]),
    Case(call('uniform', (2, 2), minval=-1.0, maxval=1.0), np.float64, [[-0.14654486670018185, -0.9699798609693708],
         [0.14828883579907037, 0.45963779380926173]]),
    Case(call('uniform', ()), np.float64, 0.4267275666499091),
    Case(call('randint', (6,), 0, 100, np.int8), np.int8, [44, 14, 71, 69, 9, 19]),
    Case(call('randint', (6,), 0, 100, np.uint8), np.uint8, [44, 14, 71, 69, 9, 19]),
    Case(call('randint', (6,), 0, 100, np.int16), np.int16, [44, 14, 71, 69, 9, 19]),
    Case(call('randint', (6,), 0, 100, np.uint16), np.uint16, [44, 14, 71, 69, 9, 19]),
    Case(call('randint', (6,), 0, 100, np.int32), np.int32, [44, 14, 71, 69, 9, 19]),
    Case(call('randint', (6,), 0, 100, np.uint32), np.uint32, [44, 14, 71, 69, 9, 19]),
    Case(call('randint', (6,), 0, 100, np.int64), np.int64, [85, 18, 3, 71, 5, 46]),
    Case(call('randint', (6,), 0, 100, np.uint64), np.uint64, [85, 18, 3, 71, 5, 46]),
    Case(call('randint', (5,), 0, 256, np.uint8), np.uint8, [196, 18, 183, 193, 141]),
    Case(call('randint', (5,), -128, 128, np.int8), np.int8, [68, -110, 55, 65, 13]),
    Case(call('randint', (4,), 0, 4294967296, np.uint32), np.uint32, [3125294276, 3383865362, 780371127, 1127988417]),
    Case(call('randint', (4,), -2147483648, 2147483648, np.int32), np.int32, [977810628, 1236381714, -1367112521,
         -1019495231]),
    Case(call('randint', (4,), -9223372036854775808, 9223372036854775807), np.int64, [4466307427195926069,
         869870568124700350, -8118644187909895017, -3282265486791233489]),
    Case(call('randint', (4,), 0, 1000000000000000), np.int64, [679464050701877, 242604979476158, 727848944880791,
         106550063542319]),
    Case(call('randint', (3,), 5, 5), np.int64, [5, 5, 5]),
    Case(call('randint', (3,), 5, 2), np.int64, [5, 5, 5]),
    Case(call('randint', (3,), np.array([0, 10, 20]), np.array([5, 20, 40])), np.int64, [0, 18, 23]),
    Case(call('bernoulli', 0.3, (8,)), np.bool_, [False, True, False, False, False, False, False, False]),
    Case(call('bernoulli', np.float32(0.30000001192092896), (8,)), np.bool_, [False, False, False, False, False,
         False, True, False]),
    Case(call('bernoulli', 0.3, (8,), mode='high'), np.bool_, [False, True, False, False, False, False, False,
         False]),
    Case(call('rademacher', (8,)), np.int64, [1, 1, -1, -1, -1, -1, -1, -1]),
    Case(call('rademacher', (4,), np.float32), np.float32, [1.0, 1.0, -1.0, -1.0]),
    Case(call('permutation', 8), np.int64, [7, 4, 2, 5, 3, 6, 0, 1]),
    Case(call('permutation', np.array([0, 10, 20, 30, 40, 50])), np.int64, [40, 20, 50, 30, 0, 10]),
    Case(call('permutation', np.array([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]), axis=1), np.int64, [[2, 3, 0, 1],
         [6, 7, 4, 5], [10, 11, 8, 9]]),
    Case(call('permutation', np.array([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]), axis=1, independent=True),
         np.int64, [[2, 3, 0, 1], [7, 4, 5, 6], [10, 11, 8, 9]]),
    Case(call('permutation', np.array([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]])), np.int64, [[8, 9, 10, 11], [0,
         1, 2, 3], [4, 5, 6, 7]]),
    Case(call('choice', 10, (5,)), np.int64, [5, 8, 3, 1, 5]),
    Case(call('choice', 10, (5,), replace=False), np.int64, [7, 4, 2, 5, 3]),
    Case(call('choice', np.array([0, 2, 4, 6, 8]), (2, 2), p=np.array([0.1, 0.2, 0.3, 0.4, 0.0])), np.int64, [[4, 6],
         [4, 2]]),
    Case(call('choice', 5, (4,), replace=False, p=np.array([0.1, 0.2, 0.3, 0.35, 0.05])), np.int64, [3, 2, 4, 0]),
    Case(call('categorical', np.array([[-1.0, 0.0, 1.0], [2.0, 0.0, -3.0]])), np.int64, [2, 0]),
    Case(call('categorical', np.array([[-1.0, 0.0, 1.0], [2.0, 0.0, -3.0]]), axis=0), np.int64, [1, 1, 0]),
    Case(call('categorical', np.array([-1.0, 0.0, 1.0]), shape=(6,)), np.int64, [2, 2, 1, 2, 2, 2]),
    Case(call('categorical', np.array([-1.0, 0.0, 1.0, 2.0]), shape=(3,), replace=False), np.int64, [3, 2, 0]),
    Case(call('categorical', np.array([-1.0, 0.0, 1.0]), shape=(6,), mode='high'), np.int64, [1, 2, 2, 2, 2, 1]),
    Case(call('poisson', np.float32(3.0), (8,)), np.int64, [6, 2, 2, 1, 5, 2, 3, 3]),
    Case(call('binomial', 10, 0.3, (8,)), np.float64, [2.0, 1.0, 5.0, 3.0, 7.0, 1.0, 3.0, 1.0]),
    Case(call('binomial', np.array([0.0, 5.0, 30.0, 7.0]), np.array([0.5, 1.0, 0.02, 0.0])), np.float64, [0.0, 5.0,
         3.0, 0.0]),
    Case(call('geometric', 0.3, (8,)), np.int64, [3, 12, 2, 1, 2, 2, 2, 2]),
)

#: These equal JAX's but for rounding.
ROUNDED = (
    Case(call('uniform', (3,), minval=-3.0, maxval=7.1), np.float64, [1.3099484231640814, -2.8483982978953226,
         2.798858620785305]),
    Case(call('normal', (4,), np.float64), np.float64, [-0.18471174528191162, -2.169824560397754, 0.18693555179382582,
         0.6122653570510959]),
    Case(call('exponential', (4,), np.float64), np.float64, [0.5563942243855916, 0.015123860720489336,
         0.8536549993431988, 1.30866279263241]),
    Case(call('laplace', (4,), np.float64), np.float64, [0.15846230602649014, 3.5058868215207473,
         -0.16050781878325354, -0.6155156120724649]),
    Case(call('cauchy', (4,), np.float64), np.float64, [-0.23434604341667786, -21.19070234669309, 0.23723777098183235,
         0.8806079282226775]),
    Case(call('logistic', (4,), np.float64), np.float64, [-0.29521526220084393, -4.183910141360207,
         0.29878068416298553, 0.9937039305821678]),
    Case(call('gumbel', (4,), np.float64), np.float64, [0.16062720630382138, -1.4348544993307841, 0.5890136500161952,
         1.1553132453508888]),
    Case(call('maxwell', (4,), np.float64), np.float64, [2.1856811186160847, 0.866467331447922, 0.8407561365101462,
         1.838019102640401]),
    Case(call('gumbel', (3,), np.float64, mode='high'), np.float64, [0.5862781993145612, 4.191481602167404,
         0.15822814885001754]),
    Case(call('truncated_normal', -1.0, 2.0, (4,), np.float64), np.float64, [0.01998452592513169, -0.9504476695340623,
         0.32827144083703297, 0.693751830608632]),
    Case(call('gamma', np.array([2.5, 0.3, 1.0]), dtype=np.float64), np.float64, [2.8769331987267917,
         0.0007189152153055567, 0.4240212506845043]),
    Case(call('loggamma', 0.01, (4,), np.float64), np.float64, [-107.42344335838611, -210.43392579123005,
         -222.26021426677102, -166.7641365348401]),
    Case(call('beta', 2.0, 0.3, (4,), np.float64), np.float64, [0.9158311443266186, 0.9820006526703698,
         0.13606788788174132, 0.697222048066777]),
    Case(call('t', 3.0, (4,), np.float64), np.float64, [-0.6930095592523876, -0.5820081154139338, 2.1891397152153647,
         -0.24505054189214784]),
    Case(call('chisquare', 3.0, (4,), np.float64), np.float64, [3.4123750492211147, 1.9269875304255157,
         8.271386696089039, 3.2365955838289406]),
    Case(call('f', 3.0, 5.0, (3,), np.float64), np.float64, [1.158641615967818, 0.4334901445978058,
         6.869564969322846]),
    Case(call('dirichlet', np.array([1.0, 0.2, 3.0]), (2,), np.float64), np.float64, [[0.14345037108239936,
         2.5351256417204505e-06, 0.8565470937919589], [0.5304225346913011, 0.004679541967384368,
         0.46489792334131474]]),
    Case(call('pareto', 2.0, (4,), np.float64), np.float64, [1.3207465067932376, 1.0075905939607959,
         1.532388301438321, 1.923855790200613]),
    Case(call('generalized_normal', 1.5, (4,), np.float64), np.float64, [-0.4028062414861481, -0.09948843483645729,
         0.35442502223499145, 0.38001581793817063]),
    Case(call('ball', 3, 1.5, (2,), np.float64), np.float64, [[-0.0384274121719343, -0.23021707456341264,
         -0.4716361044985232], [0.3980138272266431, -0.3048052739796696, -0.14784497957050247]]),
    Case(call('normal', (4,), np.float32), np.float32, [-0.028304616, 0.46713185, 0.29570296, 0.15354592]),
    Case(call('exponential', (4,), np.float32), np.float32, [0.6708175, 1.1388006, 0.95782, 0.8232925]),
    Case(call('laplace', (4,), np.float32), np.float32, [0.022839652, -0.44565356, -0.2646729, -0.13014539]),
    Case(call('cauchy', (4,), np.float32), np.float32, [-0.03548463, 0.6337261, 0.38244057, 0.1940707]),
    Case(call('logistic', (4,), np.float32), np.float32, [-0.045169413, 0.7528398, 0.47375232, 0.24528676]),
    Case(call('gumbel', (4,), np.float32), np.float32, [0.3340934, 0.95201945, 0.72553056, 0.5481715]),
    Case(call('maxwell', (4,), np.float32), np.float32, [0.5535825, 0.29328507, 1.708603, 1.5084578]),
    Case(call('gumbel', (3,), np.float32, mode='high'), np.float32, [0.399258, -0.12997562, 0.043095414]),
    Case(call('truncated_normal', -1.0, 2.0, (4,), np.float32), np.float32, [0.14770006, 0.5684449, 0.4210255,
         0.29997]),
    Case(call('gamma', np.array([2.5, 0.3, 1.0]), dtype=np.float32), np.float32, [4.378075, 0.32009867, 2.007246]),
    Case(call('rayleigh', np.array([1.0, 2.0, 3.0])), np.float64, [1.3050743171072179, 5.795884058247333,
         3.1603382213370517]),
    Case(call('weibull_min', np.array([1.0, 2.0, 3.0]), 1.5, (3,)), np.float64, [0.6764801778222244,
         0.12231276251644208, 2.6996627454109383]),
    Case(call('lognormal', np.array([0.5, 1.0, 2.0])), np.float64, [0.9117806140267735, 0.11419764994377499,
         1.453349806807165]),
    Case(call('triangular', 0.0, 0.3, 1.0, (4,)), np.float64, [0.36652489919092823, 0.06710455166823168,
         0.4540156527240682, 0.5651129202117424]),
    Case(call('wald', np.array([0.5, 1.0, 2.0])), np.float64, [0.8276472208773589, 0.7711361736729381,
         0.2658722707168426]),
    Case(call('double_sided_maxwell', 1.0, 2.0, (3,)), np.float64, [-2.6956351413757687, -3.6877952518604795,
         4.7138077011187836]),
    Case(call('truncated_normal', np.array([-np.inf, 0.0, 3.0]), np.array([np.inf, 1.0, 4.0])), np.float64,
         [-0.18471174528191175, 0.012843334679906164, 3.2422039800059577]),
    Case(call('multivariate_normal', np.array([1.0, 2.0, 3.0]), np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2,
         3.0]]), (2,)), np.float64, [[0.738778144692716, -0.09499048743076521, 2.9026179866147634],
         [1.8658739717128654, 2.674470696102275, 3.769753150028368]]),
    Case(call('orthogonal', 3), np.float64, [[-0.24985348168396393, -0.9679399318215844, 0.025797792068838043],
         [0.8281911415011259, -0.19982480469811717, 0.5236119560957534], [0.5016698823224919, -0.1521917731435747,
         -0.851566200220483]]),
    Case(call('orthogonal', 2, m=3), np.float64, [[-0.3323982541017758, 0.3364001079140078, 0.8811051969348128],
         [-0.9177473674466865, 0.09995078745710319, -0.3843821140888083]]),
    Case(call('gamma', np.array([0.5, 1.0, 7.0, 100.0, 1000000.0])), np.float64, [0.19865354933259452,
         0.5161877343182824, 12.091412632676853, 103.44150311108919, 998611.0254916254]),
)
