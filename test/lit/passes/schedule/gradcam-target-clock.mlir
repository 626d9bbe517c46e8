// RUN: %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-target-clock{mhz=120 family=xcup})' | FileCheck %s
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(gradcam-target-clock{mhz=900})' 2>&1 | FileCheck %s --check-prefix=FAST

// CHECK: module attributes {gradcam.platform = {family = "xcup", mhz = 1.200000e+02 : f64, pe = "16x16"}}
// FAST: error: 900 MHz is too fast for ecp5; choose at most 166
func.func @main() {
  return
}
