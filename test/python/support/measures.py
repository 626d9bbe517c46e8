"""What a demonstration measures when every figure of its table is reached."""

from gradcam.figures import Measured, ShapeRun
from gradcam.schema.program import Cycles

CYCLES = Cycles(load=10, inference=1000, explanation=2, store=3, total=1015)
GOOD = Measured(
    shapes=[ShapeRun("16x16", CYCLES, [CYCLES] * 50, 50), ShapeRun("8x8", CYCLES, [CYCLES] * 2, 2)],
    multipliers=256,
    macs=256 * 900,
    traced=40,
    untraced=0,
    trace_difference="",
    same_class=49,
    correlations=[0.97] + [0.995] * 49,
    hits=46,
    float_hits=48,
    compile_seconds=59.9,
    compile_peak=3_900_000_000,
    build_seconds=89.9,
    cycles_per_second=200_001,
    accuracy=0.98,
)
